// Keys for the whole page, and files dropped or pasted anywhere.
() => {
  // The help line of a button is beside it, or the one of its group.
  const groups = { undo: "history", redo: "history", "save-png": "tools", "save-gif": "tools",
    "save-mp4": "tools", "save-latent": "tools", "copy-link": "tools" };
  document.addEventListener("focusin", (event) => {
    const button = event.target.closest?.("button[id]");
    const help = button && `help-${groups[button.id] ?? button.id}`;
    if (help && document.getElementById(help)) button.setAttribute("aria-describedby", help);
  });

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
