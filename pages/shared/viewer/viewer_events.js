// Mouse, keys and fields of a viewer.

const GREY_PER_PIXEL = 1 / 400; // share of the display range for each screen pixel of a drag
const GREY_STEP = 0.02; // for each key press
const KEY_ZOOM = 1.25;
const NEAR_DIVIDER = 10; // screen pixels

function listenTo(viewer) {
  const options = { signal: viewer.ended.signal };
  const { root } = viewer;
  root.querySelector(".tools").addEventListener("click", (event) => press(viewer, event.target.closest("button")), options);
  root.querySelector(".tools").addEventListener("input", (event) => fieldChanged(viewer, event.target), options);
  root.querySelector(".tools").addEventListener("focusout", () => viewer.data && viewer.showFields(), options);
  // Streamlit has keys of its own (R runs the page anew), which must not act while one types a number here.
  root.addEventListener("keydown", (event) => event.stopPropagation(), options);
  for (const pane of viewer.panes) listenToPane(viewer, pane, options);
}

function listenToPane(viewer, pane, options) {
  const { canvas } = pane;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = { 0: 1, 1: 16, 2: 400 }[event.deltaMode];
    const factor = Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002));
    const [x, y] = placeIn(pane, event);
    viewer.zoomTo(viewer.zoom * factor, pane, x, y);
    viewer.tellPlace(pane, x, y);
  }, { ...options, passive: false });
  canvas.addEventListener("dblclick", (event) => {
    if (viewer.set.zoom === null) viewer.zoomTo(1, pane, ...placeIn(pane, event));
    else viewer.fit();
  }, options);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault(), options);
  canvas.addEventListener("keydown", (event) => keyPressed(viewer, pane, event), options);
  canvas.addEventListener("pointerleave", () => (viewer.root.querySelector(".where").textContent = ""), options);
  listenToDrags(viewer, pane, options);
}

function listenToDrags(viewer, pane, options) {
  const { canvas } = pane;
  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 2 || !viewer.sides.length) return;
    const [x, y] = placeIn(pane, event);
    const onDivider = viewer.mode === "swipe" && Math.abs(x - viewer.set.divider * pane.width) < NEAR_DIVIDER;
    held = { x, y, does: event.button === 2 || event.ctrlKey ? "grey" : onDivider ? "divide" : "move" };
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("held");
  }, options);
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeIn(pane, event);
    if (held) dragged(viewer, pane, held, x, y);
    viewer.tellPlace(pane, x, y);
  }, options);
  const release = () => {
    held = null;
    canvas.classList.remove("held");
  };
  canvas.addEventListener("pointerup", release, options);
  canvas.addEventListener("pointercancel", release, options);
}

function dragged(viewer, pane, held, x, y) {
  const [dx, dy] = [x - held.x, y - held.y];
  [held.x, held.y] = [x, y];
  const { set } = viewer;
  if (held.does === "move") viewer.moveBy(pane, dx, dy);
  else if (held.does === "grey") viewer.setGrey(set.window + dx * GREY_PER_PIXEL, set.level - dy * GREY_PER_PIXEL);
  else viewer.change({ divider: x / pane.width });
}

/** Screen pixels from the pane's corner. */
function placeIn(pane, event) {
  const box = pane.canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * pane.width) / box.width, ((event.clientY - box.top) * pane.height) / box.height];
}

function press(viewer, button) {
  if (!button || !viewer.sides.length) return;
  if (button.dataset.mode) viewer.change({ mode: button.dataset.mode });
  const { set } = viewer;
  const actions = {
    fit: () => viewer.fit(),
    whole: () => viewer.zoomBy(1 / viewer.zoom),
    in: () => viewer.zoomBy(KEY_ZOOM),
    out: () => viewer.zoomBy(1 / KEY_ZOOM),
    invert: () => viewer.change({ inverted: !set.inverted }),
    reset: () => viewer.reset(),
  };
  if (button.dataset.do) actions[button.dataset.do]();
}

function fieldChanged(viewer, field) {
  if (field.type === "checkbox") {
    viewer.change({ lines: field.checked });
    return;
  }
  const value = field.valueAsNumber / 100;
  if (Number.isNaN(value) || (field.type === "number" && !field.validity.valid)) return;
  if (field.name === "window") viewer.setGrey(value, viewer.set.level);
  else if (field.name === "level") viewer.setGrey(viewer.set.window, value);
  else viewer.change({ [field.name]: value });
}

function keyPressed(viewer, pane, event) {
  if (event.altKey || event.metaKey || event.ctrlKey || !viewer.sides.length) return;
  const { set } = viewer;
  const sign = event.shiftKey ? -1 : 1;
  const far = (event.shiftKey ? 0.5 : 0.1) * Math.min(pane.width, pane.height);
  const modes = viewer.sides.length > 1 ? MODES : ["one"];
  const actions = {
    "+": () => viewer.zoomBy(KEY_ZOOM),
    "=": () => viewer.zoomBy(KEY_ZOOM),
    "-": () => viewer.zoomBy(1 / KEY_ZOOM),
    _: () => viewer.zoomBy(1 / KEY_ZOOM),
    arrowleft: () => viewer.moveBy(pane, far, 0),
    arrowright: () => viewer.moveBy(pane, -far, 0),
    arrowup: () => viewer.moveBy(pane, 0, far),
    arrowdown: () => viewer.moveBy(pane, 0, -far),
    f: () => viewer.fit(),
    0: () => viewer.fit(),
    1: () => viewer.zoomBy(1 / viewer.zoom),
    w: () => viewer.setGrey(set.window + sign * GREY_STEP, set.level),
    l: () => viewer.setGrey(set.window, set.level + sign * GREY_STEP),
    i: () => viewer.change({ inverted: !set.inverted }),
    r: () => viewer.reset(),
    o: () => viewer.change({ opacity: set.opacity + sign * 0.05 }),
    c: () => viewer.change({ lines: !set.lines }),
    s: () => viewer.change({ mode: modes[(modes.indexOf(viewer.mode) + 1) % modes.length] }),
    ",": () => viewer.change({ divider: set.divider - 0.02 }),
    ".": () => viewer.change({ divider: set.divider + 0.02 }),
  };
  const action = actions[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
}
