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

  // What gradio shows and does not tell: help lines of inputs, whose they are, what is folded out.
  const tell = () => {
    for (const info of document.querySelectorAll(".block[id] .info-text")) {
      const block = info.closest(".block[id]");
      info.id = `info-${block.id}`;
      for (const input of block.querySelectorAll("input, textarea")) input.setAttribute("aria-describedby", info.id);
    }
    for (const row of document.querySelectorAll(".row-box > .row-box")) {
      row.setAttribute("role", "group");
      row.setAttribute("aria-label", `Sentence ${row.id.split("-")[1]}`);
    }
    for (const fold of document.querySelectorAll("button.label-wrap")) {
      fold.setAttribute("aria-expanded", String(fold.classList.contains("open")));
    }
    due = 0;
  };
  let due = 0;
  new MutationObserver(() => { due ||= setTimeout(tell, 200); })
    .observe(document.body, { subtree: true, childList: true, attributeFilter: ["class"] });
  tell();

  // At an end of the history Undo is switched off and loses the focus: it goes to Redo, and back.
  let last = null; // what had the focus
  document.addEventListener("focusin", (event) => { last = event.target; });
  new MutationObserver(() => {
    const other = { undo: "redo", redo: "undo" }[last?.id];
    const lost = [document.body, last].includes(document.activeElement);
    if (other && lost && last.disabled) document.getElementById(other).focus();
  }).observe(document.body, { subtree: true, attributeFilter: ["disabled"] });

  // Tab goes as the eye does: where the columns become two or one, the parts change places too.
  const two = matchMedia("(max-width: 1180px)"), one = matchMedia("(max-width: 780px)");
  const arrange = () => {
    const [studio, who, view, stage, ask] = ["studio", "who", "view", "stage", "ask"].map((id) => document.getElementById(id));
    const focused = document.activeElement;
    if (one.matches) stage.after(ask); else view.after(ask);
    if (two.matches) studio.append(who); else studio.prepend(who);
    focused?.focus({ preventScroll: true });  // what is moved loses it
  };
  for (const width of [two, one]) width.addEventListener("change", arrange);
  if (two.matches) arrange();

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
