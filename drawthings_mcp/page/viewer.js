// One picture to look at closely: wheel, pinch, keys and buttons zoom, dragging moves.

import { original, thumbnail } from "./api.js";
import { button, h } from "./dom.js";

const MOST = 16;
const LARGE = 6_000_000; // Pixels from which the original waits until somebody zooms.

export class Viewer {
  constructor(picture) {
    this.picture = picture;
    this.image = h("img", { alt: picture.prompt || `Picture ${picture.id}`, src: thumbnail(picture.id, 1024), draggable: "false" });
    this.stage = h("div", { class: "stage", tabindex: "0", role: "group", "aria-label": "Picture; plus and minus zoom, arrow keys move what is zoomed" }, this.image);
    this.share = h("output", { class: "share" });
    this.element = h("div", { class: "viewer" }, this.stage, h("div", { class: "zoom", role: "toolbar", "aria-label": "Zoom" },
      button("minus", "Smaller", () => this.zoom(1 / 1.5)), this.share, button("plus", "Larger", () => this.zoom(1.5)), button("fit", "Whole picture", () => this.fit())));
    this.pointers = new Map();
    this.stage.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0025)), this.at(event)); }, { passive: false });
    this.stage.addEventListener("pointerdown", (event) => { this.stage.setPointerCapture(event.pointerId); this.pointers.set(event.pointerId, event); });
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.stage.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    this.stage.addEventListener("dblclick", (event) => (this.isFit ? this.zoom(1 / this.scale, this.at(event)) : this.fit()));
    this.stage.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => (this.isFit ?? true ? this.fit() : this.draw())).observe(this.stage);
    if (picture.width * picture.height <= LARGE) this.sharpen();
  }

  /** Has the original shown, where the browser can, and something as large where it cannot. */
  sharpen() {
    if (this.isSharp || !this.picture.is_here) return;
    this.isSharp = true;
    const image = new Image(), address = original(this.picture.id), others = [`${address}?edge=2048`];
    image.onload = () => { this.image.src = image.src; };
    image.onerror = () => { if (others.length) image.src = others.pop(); }; // a file that changed stays small
    image.src = address;
  }

  at(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  get fitting() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / this.picture.width, clientHeight / this.picture.height, Math.max(1, 512 / Math.max(this.picture.width, this.picture.height)));
  }

  fit() {
    this.isFit = true;
    this.scale = this.fitting;
    this.x = (this.stage.clientWidth - this.picture.width * this.scale) / 2;
    this.y = (this.stage.clientHeight - this.picture.height * this.scale) / 2;
    this.draw();
  }

  zoom(factor, [x, y] = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    if (!this.scale) this.fit();
    const scale = Math.min(MOST, Math.max(this.fitting, this.scale * factor));
    if (scale <= this.fitting) { this.fit(); return; }
    this.isFit = false;
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.sharpen();
    this.draw();
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.pointers.values()].filter((one) => one.pointerId !== event.pointerId);
    if (others.length) {
      const distance = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      this.zoom(distance(event) / Math.max(1, distance(before)), this.at(event));
    } else if (!this.isFit) {
      this.x += event.clientX - before.clientX;
      this.y += event.clientY - before.clientY;
      this.draw();
    }
    this.pointers.set(event.pointerId, event);
  }

  press(event) {
    const step = 80;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key in moves && !this.isFit) { this.x += moves[event.key][0]; this.y += moves[event.key][1]; this.draw(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    const width = this.picture.width * this.scale, height = this.picture.height * this.scale;
    const hold = (place, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, place)));
    this.x = hold(this.x, width, this.stage.clientWidth);
    this.y = hold(this.y, height, this.stage.clientHeight);
    Object.assign(this.image.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${this.x}px, ${this.y}px)` });
    this.image.classList.toggle("pixels", this.scale * devicePixelRatio > 3);
    this.stage.classList.toggle("zoomed", !this.isFit);
    this.share.value = `${Math.round(this.scale * devicePixelRatio * 100)} %`;
  }
}
