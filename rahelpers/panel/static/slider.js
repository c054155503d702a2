// A slider with its label, its value and its unit: the browser's own, so that it works by keyboard
// and is read aloud by screen readers.
function render({ model, el }) {
  const id = `ra-slider-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const label = document.createElement("label");
  label.htmlFor = id;
  label.textContent = model.get("label");
  const input = document.createElement("input");
  const [min, max, step] = ["low", "high", "step"].map((name) => model.get(name));
  Object.assign(input, { type: "range", id, min, max, step });
  const output = document.createElement("output");
  output.htmlFor = id;
  el.classList.add("ra-slider");
  el.append(label, input, output);
  let waiting = null;

  function show(value) {
    const unit = model.get("unit");
    output.textContent = Number(value).toFixed(model.get("digits")) + (unit ? ` ${unit}` : "");
    input.setAttribute("aria-valuetext", output.textContent);
  }
  function pull() {
    if (!waiting) input.value = model.get("value");
    input.disabled = model.get("disabled");
    show(input.value);
  }
  function push() {
    clearTimeout(waiting);
    waiting = null;
    model.set("value", Number(input.value));
    model.save_changes();
  }
  input.addEventListener("input", () => {
    // while it moves, the kernel is told at most once per delay
    show(input.value);
    if (!waiting) waiting = setTimeout(push, model.get("delay_ms"));
  });
  input.addEventListener("change", push);
  model.on("change:value", pull);
  model.on("change:disabled", pull);
  pull();
}

export default { render };
