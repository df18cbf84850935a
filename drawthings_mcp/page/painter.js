// The mask painter: brush, box and eraser over a picture, with undo. Shared by the gallery's page and the views of
// chats; its style is in parts.css.
import { make, makeButton } from "./make.js";

const MOST_SIDE = 2048; // pixels of a mask's longest side; the server enlarges it to the picture's size
const PAINT = "#ff2d2d";
const STEPS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
const LEVEL = 128; // from which on a mask is white

/**
 * A painter for a picture.
 *
 * @param picture `{src, label, width, height}`; the size is that of the file, not of `src`.
 * @param options `mask`: address of a mask to begin with; `onchange(isEmpty)`: told after each stroke.
 * @returns `{element, isEmpty(), toDataURL(), undo(), clear()}`; `toDataURL` is a PNG of the picture's shape, white
 *   where it is painted and black elsewhere. With the keyboard: Ctrl+Z undoes, [ and ] change the brush, B, R and E
 *   choose brush, box and eraser; over the picture arrow keys move, and space paints or sets a corner of a box.
 */
export function makeMaskPainter(picture, { mask = "", onchange = () => {} } = {}) {
  const scale = Math.min(1, MOST_SIDE / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = make("canvas", {
    width, height, tabIndex: 0, role: "application",
    "aria-label": `Mask over ${picture.label}: arrow keys move, space paints, B brush, R box, E eraser`,
  });
  const cursor = make("span", { className: "cursor", "aria-hidden": "true" });
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const kept = make("canvas", { width, height }); // what was painted before the stroke under way
  const begun = make("canvas", { width, height }); // what undo ends at
  const strokes = [];
  let tool = "brush";
  let stroke = null;
  let place = [width / 2, height / 2]; // of the cursor
  let corner = null; // of a box that is drawn by keys

  const draw = ({ tool: used, size, points }) => {
    paint.save();
    paint.globalCompositeOperation = used === "eraser" ? "destination-out" : "source-over";
    paint.fillStyle = paint.strokeStyle = PAINT;
    if (used === "box") {
      const [[left, top], [right, bottom]] = [points[0], points.at(-1)];
      paint.fillRect(Math.min(left, right), Math.min(top, bottom), Math.abs(right - left), Math.abs(bottom - top));
    } else {
      paint.lineCap = paint.lineJoin = "round";
      paint.lineWidth = size;
      paint.beginPath();
      paint.moveTo(...points[0]);
      for (const point of points.length > 1 ? points.slice(1) : points) paint.lineTo(...point);
      paint.stroke();
    }
    paint.restore();
  };
  const restore = (from) => {
    paint.clearRect(0, 0, width, height);
    paint.drawImage(from, 0, 0);
  };
  const keep = () => {
    const context = kept.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(canvas, 0, 0);
  };
  const isEmpty = () => {
    const { data } = paint.getImageData(0, 0, width, height);
    for (let at = 3; at < data.length; at += 4) if (data[at] >= LEVEL) return false;
    return true;
  };
  const tell = () => {
    undoButton.disabled = !strokes.length;
    onchange(isEmpty());
  };
  const redraw = () => {
    restore(begun);
    strokes.forEach(draw);
    tell();
  };
  const undo = () => {
    if (strokes.pop()) redraw();
  };
  const clear = () => {
    strokes.length = 0;
    begun.getContext("2d").clearRect(0, 0, width, height);
    redraw();
  };

  const find = (event) => {
    const area = canvas.getBoundingClientRect();
    return [((event.clientX - area.left) * width) / area.width, ((event.clientY - area.top) * height) / area.height];
  };
  const brushSize = () => (Number(size.value) / 100) * Math.max(width, height);
  const showCursor = () => {
    const side = tool === "box" ? 0.02 * Math.max(width, height) : brushSize();
    cursor.style.left = `${(place[0] / width) * 100}%`;
    cursor.style.top = `${(place[1] / height) * 100}%`;
    cursor.style.width = `${(side / width) * 100}%`;
    cursor.classList.toggle("square", tool === "box");
  };
  const add = (made) => {
    strokes.push(made);
    tell();
  };
  const begin = (event) => {
    if (event.button || stroke) return;
    canvas.setPointerCapture(event.pointerId);
    keep();
    stroke = { tool, size: brushSize(), points: [find(event)] };
    draw(stroke);
    event.preventDefault();
  };
  const go = (event) => {
    place = find(event);
    showCursor();
    if (!stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    stroke.points.push(...(events.length ? events : [event]).map(find));
    restore(kept);
    draw(stroke);
  };
  const end = () => {
    if (!stroke) return;
    add(stroke);
    stroke = null;
  };
  /** A dab where the cursor is; with the box, its one corner and then the other. */
  const stamp = () => {
    if (tool === "box" && !corner) {
      keep();
      corner = place;
      return;
    }
    if (corner) restore(kept);
    const made = { tool, size: brushSize(), points: corner ? [corner, place] : [place] };
    corner = null;
    draw(made);
    add(made);
  };
  const step = (key, isFine) => {
    const far = (isFine ? 0.005 : 0.02) * Math.max(width, height);
    const [across, down] = STEPS[key];
    place = [Math.min(width, Math.max(0, place[0] + across * far)), Math.min(height, Math.max(0, place[1] + down * far))];
    if (corner) {
      restore(kept);
      draw({ tool: "box", points: [corner, place] });
    }
    showCursor();
  };
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", go);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);

  const dropCorner = () => {
    if (corner) restore(kept);
    corner = null;
  };
  const choose = (wanted) => {
    tool = wanted;
    dropCorner();
    showCursor();
    for (const [name, button] of Object.entries(tools)) button.setAttribute("aria-pressed", String(name === tool));
  };
  const tools = Object.fromEntries(
    [["brush", "Brush"], ["box", "Box"], ["eraser", "Eraser"]].map(([name, text]) => [
      name, makeButton(text, () => choose(name)),
    ]),
  );
  const size = make("input", { type: "range", min: 1, max: 30, step: 0.5, value: 8, "aria-label": "Size of the brush", oninput: () => showCursor() });
  const undoButton = makeButton("Undo", undo, { disabled: true });
  const element = make(
    "div",
    { className: "painter" },
    make(
      "div",
      { className: "tools", role: "toolbar", "aria-label": "Mask" },
      ...Object.values(tools), size, undoButton, makeButton("Clear", clear),
    ),
    make("div", { className: "paper" }, make("img", { src: picture.src, alt: picture.label, draggable: false }), canvas, cursor),
  );
  const keys = { b: () => choose("brush"), r: () => choose("box"), e: () => choose("eraser") };
  element.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (key === "[" || key === "]") {
      if (key === "[") size.stepDown(2);
      else size.stepUp(2);
      showCursor();
    } else if (keys[key]) keys[key]();
    else if (key === "escape" && corner) dropCorner();
    else if (event.target === canvas && key === " ") stamp();
    else if (event.target === canvas && STEPS[key]) step(key, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  choose("brush");

  if (mask) {
    const image = new Image();
    image.onload = () => {
      paint.drawImage(image, 0, 0, width, height);
      const levels = paint.getImageData(0, 0, width, height);
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(PAINT.slice(at, at + 2), 16));
      for (let at = 0; at < levels.data.length; at += 4) {
        levels.data.set([red, green, blue, levels.data[at] >= LEVEL ? 255 : 0], at);
      }
      begun.getContext("2d").putImageData(levels, 0, 0);
      redraw();
    };
    image.src = mask;
  }

  const toDataURL = () => {
    const { data } = paint.getImageData(0, 0, width, height);
    const flat = new ImageData(width, height);
    for (let at = 0; at < data.length; at += 4) {
      const level = data[at + 3] >= LEVEL ? 255 : 0;
      flat.data.set([level, level, level, 255], at);
    }
    const sheet = make("canvas", { width, height });
    sheet.getContext("2d").putImageData(flat, 0, 0);
    return sheet.toDataURL("image/png");
  };
  return { element, isEmpty, toDataURL, undo, clear };
}
