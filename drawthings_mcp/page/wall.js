// A wall of pictures in rows of one height, endless: only what is near the screen is in the document.

import { thumbnail } from "./api.js";
import { h, icon, isTyping } from "./dom.js";

const GAP = 6;
const AHEAD = 1.2; // Screens that are there above and below.

export class Wall {
  /**
   * @param {object} parts `load(cursor, signal)` gives `{pictures, cursor, total}`; `open(id)`, `change(selected)` are told
   *     what the user did.
   */
  constructor({ load, open, change, failed }) {
    Object.assign(this, { load, open, change, failed });
    this.list = h("div", { class: "rows", role: "list", "aria-label": "Pictures" });
    this.element = h("div", { class: "wall", onscroll: () => this.draw(), onkeydown: (event) => this.press(event) }, this.list);
    this.selected = new Set();
    this.tiles = new Map();
    new ResizeObserver(() => this.layOutAgain()).observe(this.element);
    this.clear();
  }

  clear() {
    this.abort?.abort();
    this.items = []; this.rows = []; this.cursor = null; this.total = 0; this.isDone = false; this.isLoading = false; this.current = 0;
    this.generation = (this.generation ?? 0) + 1;
  }

  /** Begins again; what is there stays until the first answer has come. */
  async restart() {
    this.clear();
    this.abort = new AbortController();
    await this.more();
  }

  async more() {
    if (this.isLoading || this.isDone) return;
    this.isLoading = true;
    const { generation } = this;
    try {
      const page = await this.load(this.cursor, this.abort.signal);
      if (generation !== this.generation) return;
      const isFirst = this.items.length === 0, focused = isFirst && this.focused;
      const known = new Set(this.items.map((item) => item.id));
      this.items.push(...page.pictures.filter((item) => !known.has(item.id)));
      this.cursor = page.cursor; this.total = page.total; this.isDone = page.cursor === null;
      if (isFirst) { this.drop(); this.element.scrollTop = 0; }
      this.layOut(isFirst ? 0 : Math.max(0, this.rows.length - 1));
      if (focused) this.focus(Math.max(0, this.items.findIndex((item) => item.id === focused)));
    } catch (error) {
      // Where there was no answer, it is asked again once there are some.
      if (error.name !== "AbortError") { this.isDone = error.status !== 0; this.failed(error); }
      return;
    } finally {
      if (generation === this.generation) this.isLoading = false;
    }
    this.draw();
  }

  /** The id of the picture that has the focus. */
  get focused() { return this.element.contains(document.activeElement) ? document.activeElement.closest(".tile")?.querySelector("a").dataset.id : undefined; }

  /** Shows again what could not be loaded. */
  resume() { this.drop(); this.draw(); }

  /** Takes pictures off the wall. */
  take(ids) {
    const gone = new Set(ids), { focused } = this;
    this.items = this.items.filter((item) => !gone.has(item.id));
    this.total -= gone.size;
    gone.forEach((id) => this.selected.delete(id));
    this.drop(); this.layOut(0); this.draw();
    if (focused) this.focus();
    this.change(this.selected);
  }

  drop() {
    this.tiles.forEach((tile) => tile.remove());
    this.tiles.clear();
  }

  layOutAgain() {
    if (this.element.clientWidth === this.width || !this.element.clientWidth) return;
    const first = this.findRow(this.element.scrollTop)?.first ?? 0;
    this.drop(); this.layOut(0);
    const row = this.rows.find((one) => one.first + one.items.length > first);
    if (first && row) this.element.scrollTop = row.top;
    this.draw();
  }

  layOut(from) {
    this.width = this.element.clientWidth;
    const width = this.list.clientWidth;
    const wanted = width < 600 ? 140 : width < 1200 ? 200 : 236;
    this.rows.length = from;
    let first = from ? this.rows[from - 1].first + this.rows[from - 1].items.length : 0;
    let top = from ? this.rows[from - 1].top + this.rows[from - 1].height + GAP : 0;
    let row = [], sum = 0;
    const end = (height) => {
      this.rows.push({ first, top, height, items: row });
      first += row.length; top += height + GAP; row = []; sum = 0;
    };
    for (const item of this.items.slice(first)) {
      const shape = Math.min(2.6, Math.max(0.45, item.width && item.height ? item.width / item.height : 1));
      row.push({ item, shape }); sum += shape;
      const height = (width - GAP * (row.length - 1)) / sum;
      if (height <= wanted) end(height);
    }
    if (row.length) end(Math.min(wanted, (width - GAP * (row.length - 1)) / sum));
    // The last row is laid out again when more comes.
    for (const [place, tile] of this.tiles) if (place >= (this.rows[from]?.first ?? 0)) { tile.remove(); this.tiles.delete(place); }
    this.list.style.height = `${top}px`;
  }

  findRow(y) {
    let low = 0, high = this.rows.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.rows[middle].top + this.rows[middle].height < y) low = middle + 1; else high = middle; }
    return this.rows[Math.min(low, this.rows.length - 1)];
  }

  draw() {
    const { scrollTop, clientHeight } = this.element;
    const upper = scrollTop - clientHeight * AHEAD, lower = scrollTop + clientHeight * (1 + AHEAD);
    const wanted = new Set();
    const start = this.findRow(Math.max(0, upper));
    for (let index = start ? this.rows.indexOf(start) : 0; index < this.rows.length && this.rows[index].top < lower; index++) {
      const row = this.rows[index];
      let left = 0;
      row.items.forEach(({ item, shape }, offset) => {
        const place = row.first + offset;
        wanted.add(place);
        if (!this.tiles.has(place)) this.tiles.set(place, this.makeTile(item, place, left, row.top, shape * row.height, row.height));
        left += shape * row.height + GAP;
      });
    }
    for (const [place, tile] of this.tiles) {
      if (wanted.has(place)) continue;
      if (tile.contains(document.activeElement)) continue;
      tile.querySelector("img").removeAttribute("src"); // what has not come yet is not waited for
      tile.remove(); this.tiles.delete(place);
    }
    if (!this.isDone && this.list.clientHeight < lower + clientHeight) this.more();
  }

  makeTile(item, place, left, top, width, height) {
    const title = item.prompt || "Picture without a prompt";
    const image = h("img", { src: thumbnail(item.id, Math.max(width, height)), alt: "", loading: "eager", decoding: "async", draggable: "false" });
    image.addEventListener("error", () => tile.classList.add("broken"));
    image.addEventListener("load", () => tile.classList.add("loaded"));
    const link = h("a", { href: `#${item.id}`, tabindex: place === this.current ? "0" : "-1", "aria-label": `${item.id}: ${title}`, "data-id": item.id,
      onfocus: () => this.setCurrent(place),
      onclick: (event) => { if (event.shiftKey || event.metaKey || event.ctrlKey) { event.preventDefault(); this.toggle(item.id); } } },
    image, h("span", { class: "caption", "aria-hidden": "true" }, h("b", {}, item.id), h("span", {}, item.prompt)));
    const pick = h("button", { type: "button", class: "pick", tabindex: "-1", "aria-label": `Select ${item.id}`, "aria-pressed": String(this.selected.has(item.id)),
      onclick: () => this.toggle(item.id) }, icon("check"));
    const tile = h("div", { class: this.selected.has(item.id) ? "tile picked" : "tile", role: "listitem", "aria-posinset": place + 1, "aria-setsize": this.isDone ? this.items.length : -1 }, link, pick);
    Object.assign(tile.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    // The order of the document is that of the pictures, whichever way it was scrolled.
    const after = [...this.tiles].filter(([other]) => other > place).sort(([one], [two]) => one - two)[0];
    this.list.insertBefore(tile, after?.[1] ?? null);
    return tile;
  }

  toggle(id) {
    if (!this.selected.delete(id)) this.selected.add(id);
    for (const [place, tile] of this.tiles) {
      if (this.items[place]?.id !== id) continue;
      tile.classList.toggle("picked", this.selected.has(id));
      tile.querySelector(".pick").setAttribute("aria-pressed", String(this.selected.has(id)));
    }
    this.change(this.selected);
  }

  unselect() {
    [...this.selected].forEach((id) => this.toggle(id));
  }

  setCurrent(place) {
    this.tiles.get(this.current)?.querySelector("a").setAttribute("tabindex", "-1");
    this.current = place;
    this.tiles.get(place)?.querySelector("a").setAttribute("tabindex", "0");
  }

  /** Shows a place and puts the focus there. */
  focus(place = this.current) {
    if (!this.items.length) return;
    place = Math.max(0, Math.min(this.items.length - 1, place));
    const row = this.rows.find((one) => place < one.first + one.items.length);
    const { scrollTop, clientHeight } = this.element;
    if (row.top < scrollTop) this.element.scrollTop = row.top - GAP;
    else if (row.top + row.height > scrollTop + clientHeight) this.element.scrollTop = row.top + row.height - clientHeight + 2 * GAP;
    this.draw();
    this.setCurrent(place);
    this.tiles.get(place)?.querySelector("a").focus({ preventScroll: true });
  }

  /** The picture before or after another one. */
  neighbour(id, step) {
    const place = this.items.findIndex((item) => item.id === id);
    return place < 0 ? undefined : this.items[place + step]?.id;
  }

  press(event) {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = this.rows.findIndex((one) => this.current < one.first + one.items.length);
    const column = this.current - (this.rows[row]?.first ?? 0);
    const inRow = (index) => { const one = this.rows[index]; return one ? one.first + Math.min(column, one.items.length - 1) : this.current; };
    const places = { ArrowLeft: this.current - 1, ArrowRight: this.current + 1, ArrowUp: inRow(row - 1), ArrowDown: inRow(row + 1), Home: 0, End: this.items.length - 1 };
    if (event.key in places) this.focus(places[event.key]);
    else if (event.key === " " && this.items[this.current]) this.toggle(this.items[this.current].id);
    else return;
    event.preventDefault();
  }
}
