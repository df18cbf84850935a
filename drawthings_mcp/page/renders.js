// Renders under way, of all programs: how far they are, how long they take, how they are stopped; and a new one.

import { get, post, remove, thumbnail } from "./api.js";
import { button, h, icon } from "./dom.js";

const BUSY = 1000, IDLE = 4000; // Milliseconds between two looks.
const FORMATS = [["", "Shape by model or canvas"], ["square", "Square"], ["landscape", "Landscape"], ["portrait", "Portrait"], ["16:9", "16:9"], ["9:16", "9:16"], ["3:2", "3:2"], ["2:3", "2:3"]];
const MODES = [["auto", "By what is given"], ["text2image", "From words"], ["edit", "Edit the canvas"], ["image2image", "From the canvas's look"], ["inpaint", "Repaint the mask"]];

const left = (seconds) => (seconds === null ? "" : seconds < 100 ? `${Math.max(1, Math.round(seconds))} s left` : `${Math.round(seconds / 60)} min left`);

export class Renders {
  /** `ended(row)` is told of each that came to its end while the page was open. */
  constructor({ ended, failed }) {
    Object.assign(this, { ended, failed });
    this.cards = new Map();
    this.begun = new Set();
    this.element = h("section", { class: "renders", "aria-label": "Renders under way", hidden: true });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    this.look();
  }

  /** Looks after one that was begun here, which may come to its end before anybody looks. */
  begin(id) { this.begun.add(id); this.look(); }

  async look() {
    clearTimeout(this.timer);
    let busy = false;
    try {
      const { renders } = await get("/gallery/renders");
      busy = this.show(renders);
    } catch (error) { if (error.status === 401) return; }
    if (!document.hidden) this.timer = setTimeout(() => this.look(), busy ? BUSY : IDLE);
  }

  show(rows) {
    const active = rows.filter((row) => row.state === "queued" || row.state === "running").reverse();
    for (const row of rows) {
      if (active.includes(row) || !(this.begun.delete(row.id) | this.cards.has(row.id))) continue;
      this.cards.get(row.id)?.element.remove();
      this.cards.delete(row.id);
      this.ended(row);
    }
    for (const row of active) {
      if (!this.cards.has(row.id)) { this.cards.set(row.id, this.makeCard(row)); this.element.append(this.cards.get(row.id).element); }
      this.cards.get(row.id).draw(row);
    }
    this.element.hidden = !active.length;
    return active.length > 0;
  }

  makeCard(row) {
    const image = h("img", { alt: "" });
    const bar = h("progress", { max: "1", "aria-label": `How far ${row.id} is` });
    const said = h("span", { class: "quiet" });
    const stop = button("stop", `Stop ${row.id}`, async () => {
      stop.disabled = true;
      try { await remove(`/gallery/renders/${row.id}`); } catch (error) { this.failed(error); stop.disabled = false; }
    });
    image.hidden = true;
    image.addEventListener("load", () => { image.hidden = false; });
    const element = h("article", { class: "render", "aria-label": `Render ${row.id}` }, h("div", { class: "glimpse" }, icon("brush"), image),
      h("div", {}, h("p", { class: "what", title: row.client }, row.prompt), bar, said), stop);
    const draw = (now) => {
      bar.value = now.fraction;
      said.textContent = [now.id, now.is_stopping ? "stopping" : now.message.split(", about")[0] || "waiting", left(now.seconds_left)].filter(Boolean).join(" · ");
      stop.disabled = now.is_stopping;
      if (now.state === "running") image.src = `/gallery/renders/${now.id}/preview?at=${now.fraction}`;
    };
    return { element, draw };
  }
}

let written = ""; // what was typed in a form that was closed

/** The form for a new picture; `canvas` and `mask` are ids of pictures at hand. */
export function makeRenderForm({ canvas = "", mask = "", begun }) {
  const choose = (name, label, options) => h("label", {}, label, h("select", { name }, options.map(([value, text]) => h("option", { value }, text))));
  const number = (name, label) => h("label", {}, label, h("input", { name, type: "number", min: "128", max: "8192", step: "1", placeholder: "by shape" }));
  const said = h("p", { class: "warn", role: "alert" });
  const models = choose("model", "Model", [["auto", "Chosen for the mode"]]);
  const words = h("textarea", { name: "prompt", rows: "4", required: true, maxlength: "10000", placeholder: canvas ? "Say what changes, then what stays" : "Subject, place, light, colours, medium", value: written, oninput: () => { written = words.value; } });
  const begin = h("button", { class: "button strong" }, "Render");
  const given = canvas && h("p", { class: "given" }, h("img", { src: thumbnail(canvas, 96), alt: "" }), mask ? `Canvas ${canvas}, mask ${mask}` : `Canvas ${canvas}`);
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    for (const name of ["width", "height"]) if (values[name]) values[name] = Number(values[name]);
    begin.disabled = true;
    try {
      const { id } = await post("/gallery/renders", { ...values, ...(canvas && { canvas }), ...(mask && { mask }) });
      written = "";
      dialog.close();
      begun(id);
    } catch (error) { said.textContent = error.message; }
    begin.disabled = false;
  } }, given, h("label", {}, "Prompt", words), h("div", { class: "fields" }, choose("mode", "Mode", MODES), models, choose("image_format", "Shape", FORMATS), number("width", "Width"), number("height", "Height")), said,
  h("div", { class: "last" }, h("span", { class: "quiet" }, "Everything else can be said in a chat."), button("", "Cancel", () => dialog.close(), { words: "Cancel" }), begin));
  const dialog = h("dialog", { class: "new", "aria-label": "New picture", onclose: () => dialog.remove() }, h("h2", {}, "New picture"), form);
  get("/gallery/models").then(({ models: known }) => models.querySelector("select").append(...known.map(({ file, name }) => h("option", { value: file }, name))), (error) => { said.textContent = error.message; });
  document.body.append(dialog);
  dialog.showModal();
  words.focus();
}
