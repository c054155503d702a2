// Tabs after the ARIA practices: the Tab key stops once, the arrow keys move within.
function render({ model, el }) {
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", model.get("label"));
  list.className = "ra-tabs";
  const buttons = model.get("names").map((name, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "tab");
    button.textContent = name;
    button.addEventListener("click", () => choose(index));
    list.append(button);
    return button;
  });
  function choose(index) {
    model.set("selected", index);
    model.save_changes();
  }
  function pull() {
    buttons.forEach((button, index) => {
      const on = index === model.get("selected");
      button.setAttribute("aria-selected", on);
      button.tabIndex = on ? 0 : -1;
    });
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = (model.get("selected") + step + buttons.length) % buttons.length;
    choose(next);
    buttons[next].focus();
  });
  model.on("change:selected", pull);
  pull();
  el.append(list);
}

export default { render };
