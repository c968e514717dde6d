// The viewer: what is shown where, and how mouse, keys and fields change it. Nothing goes back to the app: zoom, window and
// overlay live here, over reruns (one viewer for each place on the page) and over page changes (`remembered`).

const LARGEST_ZOOM = 32; // screen pixels for each film pixel
const MODES = ["one", "swipe", "pair"];
const MOST_REMEMBERED = 20;
const TOLD_AFTER = 700; // ms without change before a screen reader is told the zoom
const SCALE = { colours: "relative to this map's maximum", lines: "Lines at 1/4, 1/2 and 3/4 of this map's maximum (relative)" };
const OVERLAY = "mammotrace-viewer-overlay"; // where the browser keeps how the reader wants maps drawn

const viewers = new WeakMap(); // place on the page -> its viewer
const remembered = new Map(); // key and content -> what was set there

class Viewer {
  constructor(place) {
    this.root = place.querySelector(".viewer");
    this.panes = [...this.root.querySelectorAll(".pane")].map((element) => {
      const canvas = element.querySelector("canvas");
      return { element, canvas, context: canvas.getContext("2d", { alpha: false }), width: 0, height: 0, captions: element.querySelectorAll(".caption") };
    });
    this.fields = Object.fromEntries([...this.root.querySelectorAll("input, output")].map((field) => [field.name, field]));
    this.sides = [];
    this.ended = new AbortController();
    this.sizes = new ResizeObserver((entries) => entries.forEach((entry) => this.resized(entry)));
    this.panes.forEach((pane) => this.sizes.observe(pane.canvas));
    listenTo(this);
  }

  end() {
    this.ended.abort();
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.telling);
  }

  /** What the app asks for; on a rerun that changed nothing this keeps all that the reader has set. */
  async take(data) {
    const content = [data.key, ...data.sides.map((side) => side.film.sha256)].join(" ");
    const given = JSON.stringify(data.look);
    this.data = data;
    if (content !== this.content) this.begin(content, data.look, given);
    if (given !== this.set.given) Object.assign(this.set, data.look, { given });
    this.root.style.setProperty("--viewer-height", `${data.height}px`);
    this.arrange();
    const wanted = JSON.stringify(data.sides);
    if (wanted !== this.wanted) {
      this.wanted = wanted;
      await this.load(data, wanted);
    }
  }

  /** Other films: as they were left here before, or whole and with the grey values as read. */
  begin(content, look, given) {
    this.content = content;
    const fresh = { zoom: null, x: 0.5, y: 0.5, window: 1, level: 0.5, inverted: false, divider: 0.5, ...look, ...keptOverlay(look), given };
    this.set = remembered.get(content) || fresh;
    remembered.delete(content);
    remembered.set(content, this.set);
    if (remembered.size > MOST_REMEMBERED) remembered.delete(remembered.keys().next().value);
    this.sides = [];
    this.root.dataset.state = "loading";
    this.root.querySelector(".shown").textContent = "";
    this.root.querySelector(".message").textContent = "Loading the film at full resolution ...";
  }

  async load(data, wanted) {
    const message = this.root.querySelector(".message");
    try {
      const sides = await Promise.all(
        data.sides.map(async (side) => ({
          label: side.label,
          film: await picture({ ...side.film, reduce: true }),
          map: side.map && (await picture(side.map)),
        })),
      );
      if (this.wanted !== wanted) return; // something else was asked for in the meantime
      message.textContent = "";
      this.sides = sides;
      this.tables = {};
      this.root.dataset.state = "loaded";
      this.arrange();
    } catch (error) {
      if (this.wanted !== wanted) return;
      this.wanted = null;
      this.root.dataset.state = "failed";
      message.textContent = `The film could not be shown: ${error.message}. Reload the page.`;
    }
  }

  // ---- layout --------------------------------------------------------------------------------------------------------------

  get mode() {
    return this.data && this.data.sides.length > 1 ? this.set.mode : "one";
  }

  /** The sides that a pane shows, from left to right. */
  sidesOf(index) {
    if (!this.sides.length) return [];
    if (this.mode === "pair") return [this.sides[index]];
    if (this.mode === "swipe") return this.sides;
    return [this.sides[Math.min(this.data.one, this.sides.length - 1)]];
  }

  arrange() {
    const { mode, set } = this;
    this.panes[1].element.hidden = mode !== "pair";
    const two = this.data.sides.length > 1;
    const mapped = this.data.sides.some((side) => side.map);
    this.root.querySelector(".modes").hidden = !two;
    this.root.querySelectorAll(".of-swipe").forEach((part) => (part.hidden = mode !== "swipe"));
    this.root.querySelectorAll(".of-map").forEach((part) => (part.hidden = !mapped));
    this.showScale();
    this.root.querySelectorAll("[data-mode]").forEach((button) => button.setAttribute("aria-pressed", button.dataset.mode === mode));
    this.root.querySelector('[data-do="invert"]').setAttribute("aria-pressed", set.inverted);
    this.panes.forEach((pane, index) => {
      const labels = this.sidesOf(index).map((side) => side.label);
      pane.captions.forEach((caption, at) => (caption.textContent = labels[at] || ""));
      pane.canvas.setAttribute("aria-label", `${labels.join(" beside ") || "Film"}. Zoom with plus and minus, move with the arrow keys.`);
      const divider = pane.element.querySelector(".divider");
      if (divider) divider.hidden = mode !== "swipe";
    });
    this.showFields();
    this.changed();
  }

  /** What the colours mean: they have no unit, and are alike for no two maps. */
  showScale() {
    const { palette } = this.data;
    this.root.querySelectorAll(".of-colours").forEach((part) => (part.hidden = this.set.lines));
    this.root.querySelector(".scale-told").textContent = this.set.lines ? SCALE.lines : SCALE.colours;
    if (!palette) return;
    const colours = Array.from({ length: 17 }, (_, step) => `#${palette.slice(6 * Math.min(255, 16 * step)).slice(0, 6)}`);
    this.root.querySelector(".ramp").style.background = `linear-gradient(to right, ${colours.join(", ")})`;
  }

  showFields() {
    const { fields, set } = this;
    const active = this.root.getRootNode().activeElement;
    const values = { window: 100 * set.window, level: 100 * set.level, opacity: 100 * set.opacity, divider: 100 * set.divider };
    for (const [name, value] of Object.entries(values)) {
      // A number that is being typed stays as it is.
      if (fields[name] !== active || fields[name].type === "range") fields[name].value = Math.round(value);
    }
    fields.lines.checked = set.lines;
    fields.opacity.disabled = set.lines; // lines have no opacity
    fields["opacity-told"].value = `${Math.round(values.opacity)} %`;
  }

  resized(entry) {
    const pane = this.panes.find((one) => one.canvas === entry.target);
    const device = entry.devicePixelContentBoxSize && entry.devicePixelContentBoxSize[0];
    const ratio = window.devicePixelRatio || 1;
    pane.width = Math.round(device ? device.inlineSize : entry.contentRect.width * ratio);
    pane.height = Math.round(device ? device.blockSize : entry.contentRect.height * ratio);
    if (pane.width > 0 && pane.height > 0) {
      pane.canvas.width = pane.width;
      pane.canvas.height = pane.height;
      pane.image = pane.context.createImageData(pane.width, pane.height);
      pane.out = new Uint32Array(pane.image.data.buffer);
    }
    this.draw(); // at once: a resized canvas is empty
  }

  // ---- zoom and place ------------------------------------------------------------------------------------------------------

  /** The zoom at which each shown film fits its pane. */
  fitting() {
    const fits = this.panes.flatMap((pane, index) =>
      pane.width && !pane.element.hidden ? this.sidesOf(index).map(({ film }) => Math.min(pane.width / film.width, pane.height / film.height)) : [],
    );
    return fits.length ? Math.min(...fits) : 1;
  }

  get zoom() {
    return this.set.zoom === null ? this.fitting() : this.set.zoom;
  }

  /** Where a film lies in a pane. Films of different size share the zoom and the place as a share of their sides. */
  viewOf(pane, film) {
    const { zoom, set } = this;
    return { zoom, left: set.x * film.width - pane.width / 2 / zoom, top: set.y * film.height - pane.height / 2 / zoom };
  }

  /** Change the zoom so that the film's point under (x, y), in screen pixels of the pane, stays there. */
  zoomTo(wanted, pane, x, y) {
    const side = this.sidesOf(this.panes.indexOf(pane))[0];
    if (!side) return;
    const before = this.viewOf(pane, side.film);
    const smallest = Math.min(1, this.fitting()) / 2;
    const zoom = Math.min(LARGEST_ZOOM, Math.max(smallest, wanted));
    const [u, v] = [before.left + x / before.zoom, before.top + y / before.zoom];
    this.set.zoom = zoom;
    this.goTo((u + (pane.width / 2 - x) / zoom) / side.film.width, (v + (pane.height / 2 - y) / zoom) / side.film.height);
  }

  zoomBy(factor) {
    const pane = this.panes[0];
    this.zoomTo(this.zoom * factor, pane, pane.width / 2, pane.height / 2);
  }

  /** Centre on a place given as shares of the film's sides; the centre never leaves the film. */
  goTo(x, y) {
    [this.set.x, this.set.y] = [x, y].map((place) => Math.min(1, Math.max(0, place)));
    this.changed();
  }

  moveBy(pane, dx, dy) {
    const side = this.sidesOf(this.panes.indexOf(pane))[0];
    if (!side) return;
    if (this.set.zoom === null) this.set.zoom = this.fitting();
    this.goTo(this.set.x - dx / this.zoom / side.film.width, this.set.y - dy / this.zoom / side.film.height);
  }

  fit() {
    Object.assign(this.set, { zoom: null, x: 0.5, y: 0.5 });
    this.changed();
  }

  // ---- grey values and map -------------------------------------------------------------------------------------------------

  setGrey(window, level) {
    this.set.window = Math.min(4, Math.max(0.01, window));
    this.set.level = Math.min(1.5, Math.max(-0.5, level));
    this.showFields();
    this.changed();
  }

  reset() {
    this.set.inverted = false;
    this.setGrey(1, 0.5);
    this.arrange();
  }

  change(values) {
    Object.assign(this.set, values);
    this.set.opacity = Math.min(1, Math.max(0, this.set.opacity));
    this.set.divider = Math.min(1, Math.max(0, this.set.divider));
    if ("lines" in values || "opacity" in values) keepOverlay(this.data.look, this.set);
    this.arrange();
  }

  // ---- drawing -------------------------------------------------------------------------------------------------------------

  /** Draw with the next frame, however many events come before it. */
  changed() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  greyOf(film) {
    const { window, level, inverted } = this.set;
    const name = [film.top, window, level, inverted].join();
    if (this.tables.greyName !== name) this.tables = { ...this.tables, greyName: name, grey: greyTable(film.top, window, level, inverted) };
    return this.tables.grey;
  }

  overlayOf(opacity) {
    if (this.tables.opacity !== opacity) this.tables = { ...this.tables, opacity, overlay: overlayTable(this.data.palette, opacity) };
    return this.tables.overlay;
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const [index, pane] of this.panes.entries()) {
      if (!pane.out || pane.element.hidden) continue;
      const sides = this.sidesOf(index);
      const cut = sides.length > 1 ? Math.round(this.set.divider * pane.width) : pane.width;
      if (!sides.length) pane.out.fill(SURROUND);
      sides.forEach((side, at) => {
        const { opacity, lines } = this.set;
        const overlay = side.map && this.overlayOf(opacity);
        const [from, to] = at === 0 ? [0, cut] : [cut, pane.width];
        drawSide(pane.out, pane, { ...side, grey: this.greyOf(side.film), opacity, lines, overlay }, this.viewOf(pane, side.film), from, to);
      });
      pane.context.putImageData(pane.image, 0, 0);
      const divider = pane.element.querySelector(".divider");
      if (divider) divider.style.left = `${100 * this.set.divider}%`;
    }
    if (this.sides.length && this.panes[0].out) this.tell();
  }

  /** The zoom, always, and what a reduced picture leaves out. */
  tell() {
    const zoom = this.zoom;
    const percent = zoom >= 0.1 ? Math.round(100 * zoom) : (100 * zoom).toFixed(1);
    const pixels = Number(zoom.toPrecision(zoom < 1 ? 2 : 3));
    const reduced = zoom < 1 ? `; reduced, a screen pixel is the mean of about ${Math.max(2, Math.round(1 / zoom ** 2))} film pixels` : "";
    const words = `Shown at ${percent} %: 1 film pixel = ${pixels} screen ${pixels === 1 ? "pixel" : "pixels"}${reduced}`;
    const shown = this.root.querySelector(".shown");
    if (shown.textContent !== words) {
      shown.textContent = words;
      clearTimeout(this.telling);
      this.telling = setTimeout(() => (this.root.querySelector(".unseen").textContent = words), TOLD_AFTER);
    }
    Object.assign(this.root.dataset, { state: "drawn", zoom, content: this.content });
  }

  /** Which film pixel the pointer is on, its value, and the map's there. */
  tellPlace(pane, x, y) {
    const sides = this.sidesOf(this.panes.indexOf(pane));
    const side = sides[sides.length > 1 && x >= this.set.divider * pane.width ? 1 : 0];
    const where = this.root.querySelector(".where");
    if (!side) return;
    const { film, map } = side;
    const view = this.viewOf(pane, film);
    const [column, row] = [Math.floor(view.left + x / view.zoom), Math.floor(view.top + y / view.zoom)];
    if (column < 0 || row < 0 || column >= film.width || row >= film.height) {
      where.textContent = "";
      return;
    }
    const value = film.copies[0].values[row * film.width + column] / film.top;
    const cells = map && map.copies[0];
    const influence = cells
      ? cells.values[Math.floor(((row + 0.5) * cells.height) / film.height) * cells.width + Math.floor(((column + 0.5) * cells.width) / film.width)] / map.top
      : null;
    where.textContent = `Row ${row + 1}, column ${column + 1}: ${(100 * value).toFixed(1)} %${influence === null ? "" : `, map ${influence.toFixed(2)}`}`;
  }
}

/** Contours and opacity as the reader left them, for films that are opened later; unless the page asks for something else now. */
function keptOverlay(look) {
  try {
    const { asked, lines, opacity } = JSON.parse(localStorage.getItem(OVERLAY));
    return asked === overlayAsked(look) && typeof lines === "boolean" && opacity >= 0 && opacity <= 1 ? { lines, opacity } : {};
  } catch {
    return {}; // nothing is kept, or the browser keeps nothing
  }
}

function keepOverlay(look, { lines, opacity }) {
  try {
    localStorage.setItem(OVERLAY, JSON.stringify({ asked: overlayAsked(look), lines, opacity }));
  } catch {
    // The browser keeps nothing; the film in view stays as it was set.
  }
}

function overlayAsked(look) {
  return JSON.stringify([look.lines, look.opacity]);
}

export default function ({ parentElement, data }) {
  let viewer = viewers.get(parentElement);
  if (!viewer || !viewer.root.isConnected) {
    if (viewer) viewer.end();
    viewer = new Viewer(parentElement);
    viewers.set(parentElement, viewer);
  }
  viewer.take(data);
  return () => {
    viewer.end();
    viewers.delete(parentElement);
  };
}
