// Pixels: fetching a film, its reduced copies, and drawing any part of it at any zoom into 32-bit screen pixels.
// Everything is computed here from the film's own values: the browser's image scaling is not involved, so what is on the screen
// is known to the last bit, and window and level act on the real depth.

const MAGIC = "MTVIEW01";
const HEADER_BYTES = 64;
const PICTURES_KEPT = 6; // of all viewers together; a film of 12 million pixels takes 32 MB with its reduced copies
const SMALLEST_COPY = 64; // pixels of the shorter side below which no further copy is made
const SURROUND = 0xff2a2522; // ABGR: what lies outside a film is never black, so that the film's edge is seen
const LINE = [0, 230, 255];
const LINE_LEVELS = [0.25, 0.5, 0.75];
const FADED_BELOW = 0.25; // of the map: from here the overlay has its whole opacity (as in saved pictures)

const pictures = new Map(); // sha256 -> Promise of a picture, the last used at the end

/** The picture of this content: fetched once a page, whatever the number of reruns and viewers. */
function picture(source) {
  let found = pictures.get(source.sha256);
  pictures.delete(source.sha256);
  if (!found) {
    found = fetched(source);
    found.catch(() => pictures.delete(source.sha256));
  }
  pictures.set(source.sha256, found);
  while (pictures.size > PICTURES_KEPT) pictures.delete(pictures.keys().next().value);
  return found;
}

async function fetched(source) {
  // Asking for a range keeps the server from packing the answer: for a film that takes four seconds, the copy a tenth of one.
  const answer = await fetch(source.url, { headers: { Range: "bytes=0-" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`the app answered with status ${answer.status}`);
  const bytes = await answer.arrayBuffer();
  const head = new DataView(bytes);
  const magic = bytes.byteLength < HEADER_BYTES ? "" : String.fromCharCode(...new Uint8Array(bytes, 0, 8));
  if (magic !== MAGIC) throw new Error("what arrived is not a picture");
  const [height, width, size] = [8, 12, 16].map((at) => head.getUint32(at, true));
  const sha256 = Array.from(new Uint8Array(bytes, 20, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256 !== source.sha256) throw new Error("another picture arrived than was asked for");
  if (bytes.byteLength !== HEADER_BYTES + height * width * size) throw new Error("a part of the picture is missing");
  // One kind of array for both depths keeps the inner loops quick.
  const values = size === 2 ? new Uint16Array(bytes, HEADER_BYTES) : Uint16Array.from(new Uint8Array(bytes, HEADER_BYTES));
  return { height, width, top: size === 2 ? 65535 : 255, copies: source.reduce ? copiesOf(values, width, height) : [{ values, width, height }] };
}

/** The film itself, then copies of half the size each, every value the mean of four. */
function copiesOf(values, width, height) {
  const copies = [{ values, width, height }];
  while (Math.min(width, height) >= 2 * SMALLEST_COPY) {
    const [w, h] = [(width + 1) >> 1, (height + 1) >> 1];
    const half = new Uint16Array(w * h);
    for (let y = 0; y < h; y++) {
      const upper = 2 * y * width;
      const lower = Math.min(2 * y + 1, height - 1) * width;
      const whole = width >> 1;
      let at = y * w;
      for (let x = 0, i = 0; x < whole; x++, i += 2) {
        half[at++] = (values[upper + i] + values[upper + i + 1] + values[lower + i] + values[lower + i + 1] + 2) >> 2;
      }
      if (whole < w) half[at] = (values[upper + width - 1] + values[lower + width - 1] + 1) >> 1;
    }
    copies.push({ values: half, width: w, height: h });
    [values, width, height] = [half, w, h];
  }
  return copies;
}

/** Grey of the screen for each stored value. `window` and `level` are shares of the display range: 1 and 0.5 change nothing. */
function greyTable(top, window, level, inverted) {
  const table = new Uint8Array(top + 1);
  const low = level - window / 2;
  for (let value = 0; value <= top; value++) {
    const grey = Math.min(255, Math.max(0, Math.round((255 * (value / top - low)) / window)));
    table[value] = inverted ? 255 - grey : grey;
  }
  return table;
}

/** Opacity (0 to 255) for each of the 256 values of a map, and its colours times that. `palette`: hexadecimal digits. */
function overlayTable(palette, opacity) {
  const opacities = Int32Array.from({ length: 256 }, (_, i) => Math.round(255 * opacity * Math.min(1, i / 255 / FADED_BELOW)));
  const channel = (at) => opacities.map((share, i) => share * parseInt(palette.slice(6 * i + at, 6 * i + at + 2), 16) + 127);
  return { opacities, red: channel(0), green: channel(2), blue: channel(4) };
}

/**
 * Which two neighbours, and how much of the second (0 to 256), each of `count` screen pixels takes from a row of `length` values.
 * `first` is where the screen's first pixel centre lies and `step` how far apart they are, in units of values.
 */
function neighbours(first, step, count, length) {
  const [left, right, share] = [new Int32Array(count), new Int32Array(count), new Int32Array(count)];
  for (let i = 0; i < count; i++) {
    const place = Math.min(length - 1, Math.max(0, first + i * step - 0.5));
    left[i] = Math.floor(place);
    right[i] = Math.min(length - 1, left[i] + 1);
    share[i] = Math.round((place - left[i]) * 256);
  }
  return { left, right, share };
}

/**
 * Draw what a pane shows of one side into `out`, columns `from` to `to`.
 *
 * `view` is {left, top, zoom}: film coordinates of the pane's upper left corner, and screen pixels for each film pixel. From 1:1 on
 * each screen pixel is the film pixel under its centre; below, it is interpolated in the copy that has at most twice the pixels.
 */
function drawSide(out, pane, side, view, from, to) {
  const { film, grey, map } = side;
  const step = 1 / view.zoom;
  const xs = [...edges(view.left, step, pane.width, film.width)];
  const ys = [...edges(view.top, step, pane.height, film.height)];
  const [x0, x1] = [Math.min(to, Math.max(from, xs[0])), Math.max(from, Math.min(to, xs[1]))];
  for (let y = 0; y < pane.height; y++) {
    const row = y * pane.width;
    if (y < ys[0] || y >= ys[1] || x1 <= x0) {
      out.fill(SURROUND, row + from, row + to);
    } else {
      out.fill(SURROUND, row + from, row + x0);
      out.fill(SURROUND, row + x1, row + to);
    }
  }
  if (x1 <= x0 || ys[1] <= ys[0]) return;
  const area = { x0, x1, y0: ys[0], y1: ys[1], stride: pane.width };
  if (view.zoom >= 1) drawWhole(out, film, grey, view, area);
  else drawReduced(out, film, grey, view, area);
  if (map && side.lines) drawLines(out, film, map, view, area);
  else if (map && side.opacity > 0) drawColours(out, film, map, side.overlay, view, area);
}

/** First screen pixel whose centre lies on the film, and the one behind the last. */
function edges(first, step, count, length) {
  const begin = Math.max(0, Math.ceil(-first / step - 0.5));
  const end = Math.min(count, Math.ceil((length - first) / step - 0.5));
  return [begin, Math.max(begin, end)];
}

function drawWhole(out, film, grey, view, area) {
  const { values, width, height } = film.copies[0];
  const step = 1 / view.zoom;
  const columns = new Int32Array(area.x1);
  for (let x = area.x0; x < area.x1; x++) columns[x] = Math.min(width - 1, Math.floor(view.left + (x + 0.5) * step));
  let drawn = -1;
  for (let y = area.y0; y < area.y1; y++) {
    const line = Math.min(height - 1, Math.floor(view.top + (y + 0.5) * step));
    const row = y * area.stride;
    if (line === drawn) {
      out.copyWithin(row + area.x0, row - area.stride + area.x0, row - area.stride + area.x1);
      continue;
    }
    drawn = line;
    const start = line * width;
    for (let x = area.x0; x < area.x1; x++) out[row + x] = 0xff000000 | (grey[values[start + columns[x]]] * 0x010101);
  }
}

function drawReduced(out, film, grey, view, area) {
  const level = Math.min(film.copies.length - 1, Math.floor(Math.log2(1 / view.zoom) + 1e-9));
  const { values, width, height } = film.copies[level];
  const scale = 2 ** -level;
  const step = scale / view.zoom;
  const count = area.x1 - area.x0;
  const { left, right, share } = neighbours(view.left * scale + (area.x0 + 0.5) * step, step, count, width);
  const lines = neighbours(view.top * scale + (area.y0 + 0.5) * step, step, area.y1 - area.y0, height);
  for (let y = area.y0, i = 0; y < area.y1; y++, i++) {
    const [upper, lower, below] = [lines.left[i] * width, lines.right[i] * width, lines.share[i]];
    const row = y * area.stride + area.x0;
    for (let x = 0; x < count; x++) {
      const a = left[x];
      const b = right[x];
      const part = share[x];
      const over = (values[upper + a] * (256 - part) + values[upper + b] * part + 128) >> 8;
      const under = (values[lower + a] * (256 - part) + values[lower + b] * part + 128) >> 8;
      out[row + x] = 0xff000000 | (grey[(over * (256 - below) + under * below + 128) >> 8] * 0x010101);
    }
  }
}

/** Calls `use` for each screen row that the map reaches, with the map's values (0 to 255) along it, or `null` where all are 0. */
function alongRows(film, map, view, area, use) {
  const { values, width, height } = map.copies[0];
  const [across, down] = [width / film.width, height / film.height];
  const count = area.x1 - area.x0;
  const step = 1 / view.zoom;
  const { left, right, share } = neighbours((view.left + (area.x0 + 0.5) * step) * across, step * across, count, width);
  const lines = neighbours((view.top + (area.y0 + 0.5) * step) * down, step * down, area.y1 - area.y0, height);
  const [first, last] = [left[0], right[count - 1]];
  const cells = new Int32Array(width); // in 256ths
  const found = new Uint8Array(count);
  for (let y = area.y0, i = 0; y < area.y1; y++, i++) {
    const [upper, lower, below] = [lines.left[i] * width, lines.right[i] * width, lines.share[i]];
    let any = 0;
    for (let x = first; x <= last; x++) any |= cells[x] = values[upper + x] * (256 - below) + values[lower + x] * below;
    if (any) {
      for (let x = 0; x < count; x++) {
        const part = share[x];
        found[x] = (cells[left[x]] * (256 - part) + cells[right[x]] * part + 32768) >> 16;
      }
    }
    use(y * area.stride + area.x0, any ? found : null);
  }
}

function drawColours(out, film, map, overlay, view, area) {
  const { opacities, red, green, blue } = overlay;
  const count = area.x1 - area.x0;
  alongRows(film, map, view, area, (row, found) => {
    if (!found) return;
    for (let x = 0; x < count; x++) {
      const value = found[x];
      const opacity = opacities[value];
      if (opacity === 0) continue;
      const grey = (out[row + x] & 0xff) * (255 - opacity);
      // Times 32897 / 2^23 is the whole part of a division by 255 for every sum that can occur.
      const r = ((grey + red[value]) * 32897) >> 23;
      const g = ((grey + green[value]) * 32897) >> 23;
      const b = ((grey + blue[value]) * 32897) >> 23;
      out[row + x] = 0xff000000 | (b << 16) | (g << 8) | r;
    }
  });
}

/** Lines where the map passes a quarter, half and three quarters of its maximum: one screen pixel on each side of the passage. */
function drawLines(out, film, map, view, area) {
  const colour = 0xff000000 | (LINE[2] << 16) | (LINE[1] << 8) | LINE[0];
  const bands = Uint8Array.from({ length: 256 }, (_, value) => LINE_LEVELS.filter((share) => value >= share * 255).length);
  const count = area.x1 - area.x0;
  let above = null;
  let here = new Uint8Array(count);
  alongRows(film, map, view, area, (row, found) => {
    if (found) for (let x = 0; x < count; x++) here[x] = bands[found[x]];
    else here.fill(0);
    for (let x = 1; x < count; x++) if (here[x] !== here[x - 1]) out[row + x] = out[row + x - 1] = colour;
    if (above) for (let x = 0; x < count; x++) if (here[x] !== above[x]) out[row + x] = out[row + x - area.stride] = colour;
    [above, here] = [here, above || new Uint8Array(count)];
  });
}
