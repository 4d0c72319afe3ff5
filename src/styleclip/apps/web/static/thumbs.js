// Small pictures or words to choose from. value: {items: [{src?, text?, title, now?}], columns?, empty?}.
// With columns it is a grid: what was chosen last is marked.
const box = element.querySelector(".sc-thumbs");

const show = () => {
  const value = props.value || {};
  const items = value.items || [];
  box.replaceChildren();
  box.classList.toggle("sc-grid", Boolean(value.columns));
  if (value.columns) box.style.setProperty("--columns", value.columns);
  if (!items.length && value.empty) box.textContent = value.empty;
  items.forEach((item, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = item.title;
    if (item.src) {
      const picture = document.createElement("img");
      picture.src = item.src;
      picture.alt = item.title;
      button.append(picture);
    }
    if (item.text) {
      const text = document.createElement("span");
      text.textContent = item.text;
      button.append(text);
      if (!item.src) button.classList.add("sc-chip");
    }
    if (item.now) button.setAttribute("aria-current", "true");
    if (value.columns) button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      trigger("pick", { index });
      if (!value.columns) return;
      for (const each of box.children) each.setAttribute("aria-pressed", String(each === button));
    });
    box.append(button);
    if (item.now) box.scrollLeft = Math.max(0, button.offsetLeft - box.clientWidth + 80);
  });
};
watch("value", show);
show();
