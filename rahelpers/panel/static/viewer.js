// A film with window and level by drag, zoom, pan and inversion, and under it a readout of the
// settings. All of it happens in the browser.
const TOP = 4095; // grey values have 12 bits
const START = { center: 0.5, width: 1, zoom: 1, x: 0, y: 0, inverted: false };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function select(label, options, value, change) {
  const field = make("select", { "aria-label": label });
  for (const option of options) field.append(make("option", { value: option[0] }, option[1]));
  field.value = value;
  field.addEventListener("change", () => change(field.value));
  return make("label", { class: "ra-field" }, make("span", {}, label), field);
}

function range(label, value, change) {
  const shown = make("output", {}, `${Math.round(value * 100)} %`);
  const limits = { min: 0, max: 100, step: 5, value: Math.round(value * 100) };
  const field = make("input", { type: "range", ...limits, "aria-label": `${label}, per cent` });
  field.addEventListener("input", () => {
    shown.textContent = `${field.value} %`;
    change(field.value / 100);
  });
  return make("label", { class: "ra-field" }, make("span", {}, label), field, shown);
}

function bytesOf(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function canvasOf(side, paint) {
  const canvas = make("canvas", { width: side[0], height: side[1] });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(side[0], side[1]);
  paint(picture.data);
  context.putImageData(picture, 0, 0);
  return canvas;
}

function render({ model, el }) {
  const state = { ...START, dragWindow: true };
  const pointers = new Map();
  let base = null, overlay = null, drawn = 0;

  const canvas = make("canvas", { class: "ra-canvas", role: "img", tabindex: "0" });
  const readout = make("p", { class: "ra-readout", "aria-live": "off" });
  const group = { class: "ra-tools", role: "group", "aria-label": "Explanation over the film" };
  const controls = make("div", group);
  const caption = make("p", { class: "ra-caption" });
  const buttons = {};
  const tools = make("div", { class: "ra-tools", role: "toolbar", "aria-label": "Film viewer" });
  const button = (name, label, act, hint) => {
    buttons[name] = make("button", { type: "button", title: hint }, label);
    buttons[name].addEventListener("click", act);
    tools.append(buttons[name]);
  };
  const drag = (changesWindow) => () => { state.dragWindow = changesWindow; update(); };
  const invert = () => { state.inverted = !state.inverted; rebuild(); };
  const reset = () => { Object.assign(state, START); rebuild(); };
  button("window", "Window", drag(true), "Drag: sideways for the window, vertically for the level");
  button("pan", "Pan", drag(false), "Drag moves the film (also: Shift and drag)");
  button("closer", "Zoom +", () => zoom(1.25), "Also: + key, pinch, wheel over a film with focus");
  button("farther", "Zoom −", () => zoom(0.8), "Also: − key");
  button("invert", "Invert", invert, "Also: I key");
  button("reset", "Reset", reset, "Also: R key");
  const help = make("details", { class: "ra-help" }, make("summary", {}, "Keys"), make("p", {},
    "When the film has the focus: arrow keys move it; + and − zoom; Shift with left or right " +
    "narrows or widens the window; Shift with up or down changes the level; I inverts, R resets. " +
    "With a mouse: drag for window and level, Shift and drag to move, wheel to zoom."));
  el.classList.add("ra-viewer");
  el.append(tools, canvas, readout, controls, caption, help);

  const size = () => [model.get("width"), model.get("height")];

  function rebuild() { // apply the window to the grey values
    const [width, height] = size(), bytes = bytesOf(model.get("pixels"));
    base = null;
    if (width * height && bytes.length === 2 * width * height) {
      const values = new Uint16Array(bytes.slice().buffer), table = new Uint8ClampedArray(TOP + 1);
      for (let v = 0; v <= TOP; v++) {
        const grey = 255 * ((v / TOP - state.center) / state.width + 0.5);
        table[v] = state.inverted ? 255 - grey : grey;
      }
      base = canvasOf([width, height], (data) => {
        for (let i = 0; i < values.length; i++) {
          data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = table[values[i]];
          data[4 * i + 3] = 255;
        }
      });
    }
    update();
  }

  function paintOverlay() { // heat or regions, on the network's square
    overlay = null;
    const kind = model.get("overlay"), side = model.get("side"), opacity = model.get("opacity");
    const heat = bytesOf(model.get("heat")), labels = bytesOf(model.get("labels"));
    const colours = model.get("region_colours");
    if (kind === "heat" && heat.length === side * side && side) {
      const table = bytesOf(model.get("colours")), least = 255 * model.get("threshold");
      overlay = canvasOf([side, side], (data) => {
        for (let i = 0; i < heat.length; i++) {
          if (heat[i] < least || !heat[i]) continue;
          data.set(table.subarray(3 * heat[i], 3 * heat[i] + 3), 4 * i);
          data[4 * i + 3] = opacity * heat[i];
        }
      });
    } else if (kind === "regions" && labels.length === side * side && side) {
      overlay = canvasOf([side, side], (data) => {
        for (let i = 0; i < labels.length; i++) {
          const colour = colours[labels[i]], x = i % side;
          if (!colour) continue;
          const edge = (x + 1 < side && labels[i] !== labels[i + 1]) ||
            (i + side < labels.length && labels[i] !== labels[i + side]);
          data.set(edge ? [255, 255, 255] : colour.slice(0, 3), 4 * i);
          data[4 * i + 3] = edge ? 110 : 255 * opacity * colour[3];
        }
      });
    }
    update();
  }

  function fit() { // the film's place on the canvas at zoom 1
    const [width, height] = size();
    const whole = Math.min(canvas.width / (width || 1), canvas.height / (height || 1));
    const scale = whole * state.zoom;
    const left = (canvas.width - scale * width) / 2 + state.x * canvas.width;
    const top = (canvas.height - scale * height) / 2 + state.y * canvas.height;
    return [scale, left, top];
  }

  function update() {
    if (!drawn) drawn = requestAnimationFrame(draw);
  }

  function draw() {
    drawn = 0;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const context = canvas.getContext("2d"), [scale, left, top] = fit();
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (base) {
      context.imageSmoothingQuality = "high";
      context.setTransform(scale, 0, 0, scale, left, top);
      context.drawImage(base, 0, 0);
      if (overlay) {
        const [a, b, c, d, e, f] = model.get("matrix");
        context.save();
        context.transform(a, b, c, d, e, f);
        context.drawImage(overlay, 0, 0);
        if (model.get("overlay") === "regions") name(context, Math.hypot(a, b) * scale);
        context.restore();
      }
      context.setTransform(1, 0, 0, 1, 0, 0);
      ruler(context, scale, ratio);
    }
    buttons.window.setAttribute("aria-pressed", state.dragWindow);
    buttons.pan.setAttribute("aria-pressed", !state.dragWindow);
    buttons.invert.setAttribute("aria-pressed", state.inverted);
    const [wide, level] = [state.width, state.center].map((share) => Math.round(100 * share));
    readout.textContent = !base ? "" :
      `Window ${wide} %, level ${level} % of the grey range; zoom ${state.zoom.toFixed(1)}×` +
      (state.inverted ? "; inverted" : "");
  }

  function name(context, scale) { // ranks of the strongest regions
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    context.lineWidth = 3 / scale;
    context.font = `${13 * (window.devicePixelRatio || 1) / scale}px sans-serif`;
    for (const [label, x, y] of model.get("region_marks")) {
      context.strokeText(label, x, y);
      context.fillText(label, x, y);
    }
  }

  function ruler(context, scale, ratio) { // a scale bar of known length
    const spacing = model.get("spacing_mm");
    if (!spacing) return;
    const most = (0.35 * canvas.width * spacing) / scale; // mm
    const length = [100, 50, 20, 10, 5, 2, 1].find((mm) => mm <= most) || 1;
    const pixels = (length / spacing) * scale, y = canvas.height - 12 * ratio;
    context.fillStyle = "#fff";
    context.fillRect(12 * ratio, y, pixels, 2 * ratio);
    context.font = `${12 * ratio}px sans-serif`;
    context.fillText(`${length} mm`, 12 * ratio, y - 5 * ratio);
  }

  function zoom(factor) {
    const before = state.zoom;
    state.zoom = Math.min(12, Math.max(1, state.zoom * factor));
    state.x *= state.zoom / before;
    state.y *= state.zoom / before;
    if (state.zoom === 1) state.x = state.y = 0;
    update();
  }

  function move(dx, dy) {
    state.x += dx;
    state.y += dy;
    update();
  }

  function grey(dWidth, dLevel) {
    state.width = Math.min(2, Math.max(0.02, state.width + dWidth));
    state.center = Math.min(1.2, Math.max(-0.2, state.center + dLevel));
    rebuild();
  }

  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const dx = (now[0] - before[0]) / canvas.clientWidth;
    const dy = (now[1] - before[1]) / canvas.clientHeight;
    if (pointers.size === 2) { // two fingers: pinch and move
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const length = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      zoom(length(now) / length(before));
      move(dx / 2, dy / 2);
    } else if (state.dragWindow && !event.shiftKey && event.buttons !== 4) grey(dx, -dy);
    else move(dx, dy);
    pointers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    // without the focus the wheel scrolls the page past the film
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = event.shiftKey ? (x, y) => grey(x, -y) : move, step = 0.05;
    const keys = {
      ArrowLeft: () => arrow(-step, 0),
      ArrowRight: () => arrow(step, 0),
      ArrowUp: () => arrow(0, -step),
      ArrowDown: () => arrow(0, step),
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(0.8),
      i: invert,
      r: reset,
    };
    const act = keys[event.key] || keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has shortcuts of its own
    act();
  });

  function buildControls() {
    const kinds = [["none", "film only"]];
    if (model.get("heat").byteLength) kinds.push(["heat", "heat map"]);
    if (model.get("labels").byteLength) kinds.push(["regions", "regions (SHAP)"]);
    const put = (name) => (value) => { model.set(name, value); model.save_changes(); };
    const wanted = model.get("overlay");
    const kind = kinds.some((k) => k[0] === wanted) ? wanted : "none";
    const choose = (label, name, options) => {
      if (options.length) controls.append(select(label, options, model.get(name), put(name)));
    };
    controls.replaceChildren();
    if (kinds.length > 1) controls.append(select("Overlay", kinds, kind, put("overlay")));
    if (kind !== "none") controls.append(range("Opacity", model.get("opacity"), put("opacity")));
    if (kind === "heat") {
      controls.append(range("Threshold", model.get("threshold"), put("threshold")));
      choose("Method", "method", model.get("methods"));
      choose("Layer", "layer", model.get("layers").map((layer) => [layer, layer]));
    }
  }

  function describe() {
    canvas.setAttribute("aria-label", model.get("alt"));
    caption.textContent = model.get("caption");
  }

  model.on("change:pixels", () => { Object.assign(state, START); rebuild(); });
  const on = (names, act) => { for (const name of names) model.on(`change:${name}`, act); };
  on(["heat", "labels", "overlay", "region_colours", "region_marks", "matrix", "side"], () => {
    buildControls();
    paintOverlay();
  });
  on(["opacity", "threshold"], paintOverlay);
  on(["methods", "layers", "method", "layer"], buildControls);
  on(["alt", "caption"], describe);
  const watcher = new ResizeObserver(update);
  watcher.observe(canvas);
  describe();
  buildControls();
  rebuild();
  paintOverlay();
  return () => watcher.disconnect();
}

export default { render };
