// One picture with all that is known of it: how it was made, what it was made from, what became of it.

import { get, original, post, send, thumbnail } from "./api.js";
import { button, copy, h, icon, keyOf, toast } from "./dom.js";
import { makeMaskPainter } from "./painter.js";
import { makeSlider } from "./slider.js";
import { Viewer } from "./viewer.js";

const MODES = { text2image: "From words", image2image: "From a picture", edit: "Edit", inpaint: "Part repainted", text2video: "Video", image2video: "Video from a picture", upscale: "Enlarged" };

/** A page over the wall, with `press(event)` where it has keys. `context` has `state`, `wall`, `close()`, `bin(ids)`, `changed(ids)`. */
export async function openPicture(id, view, context) {
  const picture = await get(`/gallery/pictures/${id}`);
  if (!picture.width) Object.assign(picture, await measure(id));
  if (view[0] === "mask") return openMask(picture, context);
  if (view[0] === "compare") return openCompare(picture, await get(`/gallery/pictures/${view[1]}`), context);
  return openDetails(picture, context);
}

const measure = (id) => new Promise((resolve) => {
  const image = new Image();
  image.onload = () => resolve({ width: image.naturalWidth, height: image.naturalHeight });
  image.onerror = () => resolve({ width: 512, height: 512 });
  image.src = thumbnail(id, 512);
});

function frame(title, back, children, actions = []) {
  const closing = h("a", { class: "button square", href: back, title: "Back (Escape)", "aria-label": "Back" }, icon("back"));
  const heading = h("h1", { tabindex: "-1" }, title);
  return h("section", { class: "page", "aria-label": title }, h("header", { class: "top" }, closing, heading, h("div", { class: "actions" }, actions)), ...children);
}

function openDetails(picture, context) {
  const viewer = new Viewer(picture);
  const step = async (by) => {
    if (by > 0 && !context.wall.neighbour(picture.id, by)) await context.wall.more();
    const next = context.wall.neighbour(picture.id, by);
    if (next) location.replace(`#${next}`);
  };
  const actions = [
    button("back", "The one before (←)", () => step(-1), { class: "button square wide-only" }),
    button("next", "The next one (→)", () => step(1), { class: "button square wide-only" }),
  ];
  const page = frame(picture.id, "#", [h("div", { class: "split" }, viewer.element, h("aside", { class: "panel" },
    describe(picture), act(picture, context), rate(picture, context), tag(picture, context), recipe(picture), tree(picture)))], actions);
  page.press = (event) => {
    const keys = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), m: () => { location.hash = `${picture.id}/mask`; }, Delete: () => context.bin([picture.id]),
      c: () => copy(picture.id, picture.id), h: () => context.hide([picture.id], !picture.is_hidden), "+": () => viewer.zoom(1.5), "-": () => viewer.zoom(1 / 1.5) };
    const stars = /^[0-5]$/.exec(event.key) ? () => page.querySelector(`[data-stars="${event.key}"]`)?.click() : undefined;
    const work = keys[keyOf(event)] ?? stars;
    if (!work) return;
    event.preventDefault();
    work();
  };
  return page;
}

function describe(picture) {
  const { recipe: known } = picture;
  const made = new Date(known.created ?? picture.created);
  const facts = [`${picture.width} × ${picture.height}`, made.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }), known.simulated ? "simulated" : ""].filter(Boolean);
  return h("div", { class: "about" },
    known.prompt ? h("p", { class: "prompt", dir: "auto" }, known.prompt) : h("p", { class: "prompt none" }, "No prompt is known."),
    known.negative_prompt && h("p", { class: "quiet" }, `Without: ${known.negative_prompt}`),
    h("p", { class: "quiet" }, facts.join(" · ")),
    picture.notes.map((note) => h("p", { class: "quiet" }, note)),
    !picture.is_here && h("p", { class: "quiet warn" }, "Its file is not there any more."));
}

function act(picture, context) {
  const paths = picture.path ? [button("copy", "Copy the path of its file", () => copy(picture.path, "Path"), { words: "Path" })] : [];
  return h("div", { class: "deeds" },
    button("copy", "Copy the id (C)", () => copy(picture.id, picture.id), { words: picture.id }), ...paths,
    picture.recipe.prompt && button("copy", "Copy the prompt", () => copy(picture.recipe.prompt, "Prompt"), { words: "Prompt" }),
    picture.is_here && h("a", { class: "button", href: original(picture.id), download: true }, icon("download"), h("span", {}, "Download")),
    picture.is_here && context.state.is_local && picture.path && button("folder", "Open its folder on this machine", () => post("/gallery/folder", { pictures: [picture.id] }).catch(context.fail), { words: /Mac/.test(navigator.platform) ? "Show in Finder" : "Show in folder" }),
    picture.is_here && h("a", { class: "button", href: `#${picture.id}/mask` }, icon("brush"), h("span", {}, "Paint a mask")),
    button("compare", "Choose another picture to compare it with", () => context.compare(picture.id), { words: "Compare" }),
    context.render && picture.is_here && button("plus", "Begin a new picture with this one", () => context.render(picture.id), { words: "Use as canvas" }),
    button(picture.is_hidden ? "eye" : "hide", "Hide it or show it (H)", () => context.hide([picture.id], !picture.is_hidden), { words: picture.is_hidden ? "Show again" : "Hide" }),
    button("bin", "To the bin (Delete)", () => context.bin([picture.id]), { words: "Bin" }));
}

function rate(picture, context) {
  const stars = () => Number(/^rating:(\d)$/.exec(picture.tags.find((one) => /^rating:\d$/.test(one)) ?? "")?.[1] ?? 0);
  const set = async (rating) => {
    try {
      picture.tags = (await post("/gallery/tags", { pictures: [picture.id], rating })).tags[picture.id];
      draw();
    } catch (error) { context.fail(error); }
  };
  const buttons = [1, 2, 3, 4, 5].map((count) => h("button", { type: "button", class: "starred", "data-stars": String(count), "aria-label": `${count} of 5 stars`, onclick: () => set(count === stars() ? 0 : count) }, icon("star")));
  const none = h("button", { type: "button", hidden: true, "data-stars": "0", onclick: () => set(0) });
  const draw = () => buttons.forEach((one, place) => { one.classList.toggle("lit", place < stars()); one.setAttribute("aria-pressed", String(place + 1 === stars())); });
  draw();
  return h("div", { class: "rating", role: "group", "aria-label": "Rating" }, buttons, none);
}

function tag(picture, context) {
  const list = h("ul", { class: "tags", "aria-label": "Tags" });
  const change = async (values) => {
    try {
      picture.tags = (await post("/gallery/tags", { pictures: [picture.id], ...values })).tags[picture.id];
      draw();
      input.focus(); // for the next one
      context.refreshTags();
    } catch (error) { context.fail(error); }
  };
  const input = h("input", { placeholder: "Add a tag", "aria-label": "Add a tag", maxlength: "64", list: "known-tags",
    onkeydown: (event) => { if (event.key === "Enter" && input.value.trim()) { change({ add: [input.value.trim()] }); input.value = ""; } } });
  const draw = () => list.replaceChildren(...picture.tags.filter((one) => !/^rating:\d$/.test(one)).map((one) =>
    h("li", {}, h("span", {}, one), button("close", `Remove the tag ${one}`, () => change({ remove: [one] })))), h("li", { class: "adding" }, input));
  draw();
  return list;
}

const word = (value) => (Array.isArray(value) ? value.map(word).join(", ") : value !== null && typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value));

function recipe(picture) {
  const known = picture.recipe;
  const rows = [
    ["File", picture.path.split(/[\\/]/).at(-1)], ["Mode", MODES[known.mode] ?? known.mode], ["Model", known.model], ["Preset", known.preset], ["Seed", known.seed], ["Steps", known.steps], ["Guidance", known.guidance_scale],
    ["Sampler", known.sampler], ["Strength", known.strength], ["LoRAs", known.loras], ["Controls", known.controls], ["Software", picture.id.startsWith("v") ? "" : known.software], ["Server", known.server],
  ].filter(([, value]) => value !== "" && value !== null && value !== undefined && !(Array.isArray(value) && !value.length));
  if (!rows.length) return null;
  const others = Object.entries(known.differs ?? {}).filter(([name]) => !["steps", "guidance_scale", "sampler", "strength"].includes(name));
  return h("section", {}, h("h2", {}, "Recipe"), h("dl", { class: "recipe" }, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, word(value))])),
    others.length > 0 && h("details", {}, h("summary", {}, "Other settings"), h("dl", { class: "recipe" }, others.flatMap(([name, [value]]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, word(value))]))));
}

function tree(picture) {
  const leaf = (one, role, further) => h("li", {}, h("a", { href: `#${one.id}`, "aria-label": `${one.id}${role ? `, ${role}` : ""}: ${one.prompt}` },
    h("img", { src: thumbnail(one.id, 96), alt: "", loading: "lazy" }), h("span", {}, role ? `${one.id} · ${role}` : one.id)), further);
  const compare = (one) => h("a", { class: "quiet", href: `#${one.id}/compare/${picture.id}` }, `Compare ${one.id} with ${picture.id}`);
  const branch = (title, pictures, extra) => pictures.length > 0 && h("div", { class: "branch" }, h("h3", {}, title), h("ul", {}, pictures), extra);
  const { ancestors, siblings, descendants } = picture;
  const shown = new Set([picture.id]); // what was made from two of them stands at the first
  const grow = (one, role, line) => {
    if (shown.has(one.id)) return [];
    shown.add(one.id);
    const further = line(one);
    return [leaf(one, role, further.length > 0 && h("ul", {}, further))];
  };
  const above = (one) => one.parents.flatMap(({ id, role }) => ancestors.filter((other) => other.id === id).flatMap((other) => grow(other, role, above)));
  const below = (one) => descendants.filter((other) => other.parents.some(({ id }) => id === one.id)).flatMap((other) => grow(other, "", below));
  const origin = picture.parents.find(({ id }) => ancestors.some((one) => one.id === id));
  const parents = above(picture), children = below(picture);
  if (!parents.length && !siblings.length && !children.length) return null;
  return h("section", {}, h("h2", {}, "Lineage"), h("div", { class: "tree" },
    branch("Made from", parents, origin && compare(origin)), h("div", { class: "branch here" }, h("h3", {}, `This one, ${picture.id}${siblings.length ? ", and its variants" : ""}`), siblings.length > 0 && h("ul", {}, siblings.map((one) => leaf(one)))),
    branch("What came of it", children)));
}

function openCompare(before, after) {
  const show = (one) => ({ src: one.is_here ? original(one.id) : thumbnail(one.id, 1024), label: one.id });
  const slider = makeSlider(show(before), show(after));
  const holder = h("div", { class: "comparing" }, slider);
  keepShape(holder, slider, before);
  const swap = button("redo", "Swap the two", () => location.replace(`#${after.id}/compare/${before.id}`), { words: "Swap" });
  return frame(`${before.id} and ${after.id}`, `#${after.id}`, [holder], [swap]);
}

/** Has an element fill its holder as far as its picture's shape allows. */
function keepShape(holder, element, { width, height }) {
  new ResizeObserver(() => {
    const side = Math.min(holder.clientWidth, (holder.clientHeight * width) / height);
    Object.assign(element.style, { width: `${side}px`, height: `${(side * height) / width}px` });
  }).observe(holder);
}

let draft; // the painter that was open last: who leaves it by mistake finds it again

function makePainter(picture) {
  const painter = makeMaskPainter({ src: thumbnail(picture.id, 1024), label: picture.id, width: picture.width, height: picture.height });
  const paper = painter.element.querySelector(".paper");
  const holder = h("div", { class: "holder" });
  paper.replaceWith(holder);
  holder.append(paper);
  keepShape(holder, paper, picture);
  return { id: picture.id, painter };
}

function openMask(picture, context) {
  if (draft?.id !== picture.id) draft = makePainter(picture);
  const { painter } = draft;
  const save = async () => {
    if (painter.isEmpty()) { toast("Nothing is painted yet.", { bad: true }); return; }
    try {
      const file = Uint8Array.from(atob(painter.toDataURL().split(",")[1]), (sign) => sign.charCodeAt(0));
      const mask = await send(`/gallery/masks/${picture.id}`, file);
      result.replaceChildren(h("b", {}, mask.id), ` is the mask of ${picture.id}. In a chat: “repaint what the mask ${mask.id} marks on ${picture.id}”. `,
        button("copy", `Copy ${mask.id}`, () => copy(mask.id, mask.id), { words: "Copy" }), " ", button("brush", "Say what is to be there", () => context.render(picture.id, mask.id), { words: "Repaint" }));
      context.changed([mask.id]);
    } catch (error) { context.fail(error); }
  };
  const result = h("p", { class: "result", role: "status" }, "Paint over what is to change.");
  return frame(`Mask for ${picture.id}`, `#${picture.id}`, [painter.element, result], [button("check", "Keep the mask", save, { words: "Keep mask", class: "button strong" })]);
}
