// Keys for the whole page, and files dropped or pasted anywhere.
() => {
  const help = {
    undo: "Go back one step (Ctrl+Z)",
    redo: "Go forward again (Ctrl+Shift+Z)",
    dice: "Draw another person",
    run: "Search the best edit of this one picture; you can watch and stop it",
    train: "Learn this sentence, so that any picture is edited at once; a minute or more",
    remove: "Take this sentence out",
    add: "Change one more thing at the same time",
    "draw-grid": "Draw the last sentence at many strengths and thresholds",
    "draw-map": "Show where the picture changed, and by which channels",
    "save-png": "Save the picture; it carries its recipe, which tells seed, sentences and latent",
    "save-gif": "Save the way from before to after as a moving picture",
    "save-mp4": "Save the way from before to after as a film",
    "save-latent": "Save the unedited latent as a NumPy file",
    "copy-link": "Copy an address that brings all of this back",
  };
  const explain = (event) => {
    const button = event.target.closest?.("button[id]");
    const words = button && help[button.id.replace(/-\d+$/, "")];
    if (words) button.title = words;
  };
  document.addEventListener("pointerover", explain);
  document.addEventListener("focusin", explain);

  const press = (id) => document.querySelector(id)?.click();
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range]):not([type=radio]), textarea");
    if (typing || !(event.ctrlKey || event.metaKey)) return;
    const key = event.key.toLowerCase();
    if (key === "z" || key === "y") {
      event.preventDefault();
      press(key === "y" || event.shiftKey ? "#redo" : "#undo");
    }
  });
  const take = (files) => {
    const input = document.querySelector("#drop input[type=file]");
    if (!files?.length || !input) return false;
    const one = new DataTransfer();
    one.items.add(files[0]);
    input.files = one.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  document.addEventListener("paste", (event) => {
    if (take(event.clipboardData?.files)) event.preventDefault();
  });
  let deep = 0;
  const over = (on) => document.body.classList.toggle("sc-over", on);
  document.addEventListener("dragenter", () => over(++deep > 0));
  document.addEventListener("dragleave", () => over(--deep > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    deep = 0;
    over(false);
    if (event.target.closest("#drop")) return;
    event.preventDefault();
    take(event.dataTransfer?.files);
  });
};
