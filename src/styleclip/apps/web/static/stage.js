// The edit behind a line that is drawn across it. value: {n, before, after, title, note, busy, sought}.
const part = (name) => element.querySelector(name);
const frame = part(".sc-frame");
const wipe = part(".sc-wipe");
let shown = -1;

const draw = () => {
  frame.style.setProperty("--wipe", wipe.value + "%");
  wipe.setAttribute("aria-valuetext", `line at ${wipe.value} percent`);
};
wipe.addEventListener("input", draw);
part(".sc-stop").addEventListener("click", () => trigger("stop"));

const show = () => {
  const value = props.value;
  if (!value || typeof value !== "object") return;
  if (value.n !== undefined && value.n < shown) return; // a late answer
  if (value.n !== undefined) shown = value.n;
  if (value.before) part(".sc-before").src = value.before;
  if (value.after) part(".sc-after").src = value.after;
  if (value.title !== undefined) part(".sc-after").alt = "after: " + value.title;
  if (value.note !== undefined) part(".sc-note").textContent = value.note;
  frame.classList.toggle("sc-ready", Boolean(part(".sc-after").getAttribute("src")));
  const busy = value.busy;
  const leaves = !busy && document.activeElement === part(".sc-stop"); // keys go on from the picture
  part(".sc-busy").hidden = !busy;
  if (leaves) wipe.focus();
  if (busy) {
    part(".sc-doing").textContent = busy.text;
    const bar = part("progress");
    if (busy.steps) {
      bar.max = busy.steps;
      bar.value = busy.step;
    } else bar.removeAttribute("value");
    part(".sc-stop").hidden = !busy.steps;
  }
  frame.dataset.n = String(value.n ?? "");
  if (value.sought) setTimeout(() => element.scrollIntoView({ block: "nearest" }), 100); // what is around it is there
};
watch("value", show);
draw();
show();
