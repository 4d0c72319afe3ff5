// Sliders by keys, and numbers that are typed: gradio tells a release of pointers alone.
// Arrows move within the methods of a sentence, which gradio does not name as one group.
const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"]);
const slider = (input) => input.closest("[id^=strength-], [id^=threshold-], #truncation");
let moved = null; // the slider whose key is held

const settle = (input, typed = false) => { // what is typed may be no number: the answer says what is true
  const value = Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null;
  trigger("settle", { control: slider(input).id, value, typed });
};
const letGo = () => {
  if (moved) settle(moved);
  moved = null;
};
const listen = (kind, act) => document.addEventListener(kind, (event) => {
  const input = event.target;
  if (input instanceof HTMLInputElement) act(input, event);
});

listen("keydown", (input, event) => {
  if (input.type === "range" && MOVES.has(event.key) && slider(input)) moved = input;
});
listen("keyup", (input, event) => {
  if (MOVES.has(event.key)) letGo();
});
listen("focusout", letGo);
listen("change", (input) => {
  if (input.type === "number" && slider(input)) settle(input, true); // Enter, or the box is left
});
// A seed counts when it was typed: whoever only passes through its box chooses nobody.
let typed = false;
const choose = (input) => {
  if (!typed || !input.closest("#seed")) return;
  typed = false;
  trigger("seed", { value: Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null });
};
listen("input", (input) => { typed ||= Boolean(input.closest("#seed")); });
listen("focusout", choose);
listen("keydown", (input, event) => { if (event.key === "Enter") choose(input); });
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
listen("keydown", (input, event) => {
  const group = input.type === "radio" && input.closest("[id^=method-]");
  if (!group || !(event.key in STEPS)) return;
  event.preventDefault();
  const all = [...group.querySelectorAll("input[type=radio]")];
  const next = all[(all.indexOf(input) + STEPS[event.key] + all.length) % all.length];
  next.focus();
  next.click();
});
