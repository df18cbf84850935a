// What a chat shows beside a result: pictures just made, compared or found, and a mask to paint. The four views are one
// script; `data-view` of the page says with which of them it begins. All that it does are calls of our tools.
import { connect } from "./host.js";
import { make, makeButton } from "./make.js";
import { makeSlider } from "./slider.js";
import { makeMaskPainter } from "./painter.js";

const KEY = "drawthings-mcp/view"; // in `_meta` of results: what to show; of calls: that a view makes them
const LARGE = 1568;
const SMALL = 192;
const EVERY = 800; // milliseconds between looks at a render
const SELDOM = 4000; // the same, where nothing happens
const TOLD = 20; // deeds that the model hears of
const MOST = 25; // pictures that can be asked for at once

const view = document.documentElement.dataset.view;
const main = document.querySelector("main");
const pictures = new Map(); // id → {id, size, seed, about, src, edge}
const kept = new Set();
const told = [];
let asked = {}; // arguments of the call that is shown
let facts = {};
let order = []; // ids in the order in which they are shown
let inputs = [];
let current = "";
let mode = view === "search" ? "wall" : "look";
let pair = [];
let painting = null; // {id, parts, judge}: the mask painted last, with its strokes
let job = "";
let busy = 0; // renders under way
let isAwaited = false; // whether one of them is that of the chat's call
let looks = 0; // who looks at renders; the last one goes on
let trouble = "";
let turns = 0; // what the user went to
let sought = "";
let next = 0; // where the search goes on
let isShown = false; // whether the result has come

const stage = make("div", { className: "stage" });
const strip = make("div", { className: "strip", role: "group", "aria-label": "Pictures" });
const actions = make("div", { className: "actions", role: "toolbar", "aria-label": "What to do" });
const about = make("div", { className: "about" });
const bar = make("progress", { max: 1, "aria-label": "Progress" });
const doing = make("span");
const glimpse = make("img", { className: "glimpse", alt: "So far", hidden: true });
const progress = make("div", { className: "progress", hidden: true }, glimpse, bar, doing, makeButton("Stop", () => stop()));
const status = make("p", { className: "status", role: "status" });
const words = make("input", { type: "search", placeholder: "Words of the prompt", "aria-label": "Search" });
const search = make(
  "div", // a form could not be sent from where chats put views
  { className: "search", role: "search", hidden: view !== "search", onkeydown: (event) => event.key === "Enter" && find() },
  words, makeButton("Search", () => find(), { className: "main" }),
);
main.tabIndex = -1; // where the keyboard goes on when what it was on is gone
main.append(search, stage, progress, strip, actions, about, status);

// ---- calls -----------------------------------------------------------------------------------------------------

const canCall = () => Boolean(host.can.serverTools);

async function call(name, args) {
  const result = await host.request("tools/call", { name, arguments: args, _meta: { [KEY]: true } });
  if (result.isError) throw new Error(getText(result));
  return result;
}

const getText = (result) => (result.content ?? []).filter((block) => block.type === "text").map((block) => block.text).join("\n");
const getImages = (result) => (result.content ?? []).filter((block) => block.type === "image");
const getSource = (image) => `data:${image.mimeType};base64,${image.data}`;
const getData = (result) => result._meta?.[KEY] ?? {};

/** Does something that can fail, and says so when it does. */
async function attempt(work) {
  trouble = "";
  try {
    return await work();
  } catch (error) {
    trouble = error.message;
    return undefined;
  } finally {
    render();
  }
}

/** Says to the model, with the user's next message, what was done here. */
function tell(text) {
  told.push(text);
  if (host.can.updateModelContext) {
    const lines = ["In the view beside the result, the user:", ...told.slice(-TOLD)].join("\n- ");
    host.request("ui/update-model-context", { content: [{ type: "text", text: lines }] }).catch(() => {});
  }
}

// ---- pictures --------------------------------------------------------------------------------------------------

/** Takes the pictures of a result; returns the ids of what it is about. */
function take(result) {
  const data = getData(result);
  const images = getImages(result);
  const blocks = data.blocks ?? (data.pictures ? [] : images.map((_, at) => [`#${at + 1}`]));
  const name = (id) => (data.isPart ? `#${id}` : id); // of a part there is only what came
  for (const picture of data.pictures ?? []) add({ ...picture, id: name(picture.id) });
  images.forEach((image, at) => {
    if (blocks[at]?.length === 1) add({ id: name(blocks[at][0]), src: getSource(image) });
  });
  return data.pictures?.map((picture) => name(picture.id)) ?? blocks.flat();
}

function add(picture) {
  const known = pictures.get(picture.id) ?? { edge: 0 };
  pictures.set(picture.id, { ...known, ...picture, src: known.src ?? picture.src ?? picture.small });
}

/** Sees to it that pictures are there, at least so large; those that cannot be had stay as they are. */
async function load(ids, edge) {
  const wanted = ids.filter((id) => !id.startsWith("#") && (pictures.get(id)?.edge ?? 0) < edge).slice(0, MOST);
  if (!wanted.length || !canCall()) return;
  const result = await call("view_images", { images: wanted, max_edge: edge });
  const { pictures: found = [], blocks = [] } = getData(result);
  found.forEach(add);
  getImages(result).forEach((image, at) => blocks[at] && Object.assign(pictures.get(blocks[at][0]), { src: getSource(image), edge }));
}

const getSize = (id) => pictures.get(id)?.size ?? [1, 1];
const getName = (id) => id.replace(/^#(?=[a-z])/, "part of ");
const describe = (id) => ({ src: pictures.get(id)?.src ?? "", label: getName(id), width: getSize(id)[0], height: getSize(id)[1] });
/** What the picture can be compared with, what it was made of first. */
function others() {
  const { from } = pictures.get(current) ?? {};
  return [...new Set([...(from ? [from] : inputs), ...order])].filter((id) => !id.startsWith("#") && id !== current);
}

// ---- what happens ----------------------------------------------------------------------------------------------

function show(result) {
  const data = getData(result);
  if (data.job) {
    return run(async () => {
      show(await finish(result));
      tell(`saw ${data.job} end: ${order.join(" ")}`);
    });
  }
  const ids = take(result);
  facts = data;
  order = ids;
  inputs = data.inputs ?? [];
  current = ids[0] ?? "";
  next = data.offset + ids.length;
  if (view === "compare" && ids.length === 2) [mode, pair] = ["compare", ids];
  if (data.canvas) {
    add(data.canvas);
    return attempt(() => paint(data.canvas.id, ids[0]));
  }
  if (ids.length) return attempt(open);
  trouble = getText(result);
  return render();
}

/** Loads what is looked at. */
async function open() {
  if (mode === "wall") return;
  await load(mode === "compare" ? pair : [current], LARGE);
  if (view !== "search") await load(order.filter((id) => !pictures.get(id).src), SMALL); // nor is the web asked for all that it has
}

function go(id) {
  turns++;
  [current, mode] = [id, "look"];
  render();
  attempt(open);
}

/** Does something that takes a render, and shows how far it is. */
function run(work, args = {}) {
  begin(args);
  return attempt(work).finally(() => {
    busy--;
    render();
  });
}

/** A render began with these arguments of a call. */
function begin({ job: id, prompt }) {
  busy++;
  doing.textContent = "";
  glimpse.hidden = true;
  follow(id ? { job: id } : prompt ? { prompt: String(prompt) } : {}).catch(() => {}); // pictures come all the same
  render();
}

/** The result of a call whose render was handed back, once it is there. */
async function finish(result) {
  for (let id; (id = getData(result).job); result = await call("get_job", { job: id, wait: 0 })) await follow({ job: id });
  return result;
}

/** Looks again and again at a render until it is done, or at the newest, of a prompt, while one is under way. */
async function follow(which) {
  const mine = ++looks;
  for (let pause = EVERY, before = ""; mine === looks && busy && canCall(); ) {
    const { isDone, fraction, message } = await watch(which);
    if (which.job && isDone) return;
    const now = `${fraction} ${message}`;
    pause = now === before ? Math.min(pause * 1.2, SELDOM) : EVERY;
    before = now;
    await new Promise((done) => setTimeout(done, pause));
  }
}

async function watch(which) {
  const result = await call("watch_job", which);
  const state = getData(result);
  if (state.job && !state.isDone) {
    job = state.job;
    const image = result.content.find((block) => block.type === "image");
    glimpse.hidden = !image;
    if (image) glimpse.src = getSource(image);
    bar.value = state.fraction;
    doing.textContent = `${state.message} · ${Math.round(state.fraction * 100)} %`;
    progress.hidden = false;
  }
  return state;
}

const stop = () => attempt(() => call("cancel_job", { job }));

/** One of the buttons: a call that makes pictures, which join the others. */
function produce(what, name, args) {
  const from = current;
  return run(async () => {
    const ids = take(await finish(await call(name, args)));
    for (const id of ids) add({ id, from });
    order = [...new Set([...order, ...ids])];
    [current, mode] = [ids.at(-1) ?? current, "look"];
    tell(`made ${ids.join(" ")} from ${from} (${what})`);
    await open();
  }, args);
}

async function keep() {
  const id = current;
  await attempt(async () => {
    const change = kept.has(id) ? "remove" : "add";
    await call("tag_image", { images: [id], [change]: ["kept"] });
    if (change === "add") kept.add(id);
    else kept.delete(id);
    tell(change === "add" ? `keeps ${id} (tag kept)` : `does not keep ${id}`);
  });
}

/** What draws a picture anew where a call takes few arguments. */
function describeSimply() {
  const [width, height] = getSize(current);
  return { prompt: facts.prompt, model: facts.model, width, height };
}

const again = () =>
  produce("again, with another seed", "generate_image",
    facts.tools === "simple" ? { ...describeSimply(), ...(inputs[0] && { canvas: inputs[0] }) } : { settings_from: current, seed: -1 });

const vary = () =>
  produce("a variation", "generate_image", {
    ...(facts.tools === "simple" ? describeSimply() : { settings_from: current, strength: 0.5, seed: -1 }),
    canvas: current, mode: "image2image",
  });

const enlarge = () => produce("larger", "transform_image", { operation: "upscale", images: [current] });

async function paint(id = current, mask = "") {
  await load([id], LARGE);
  if (mask) {
    pictures.get(mask).edge = 0; // so far it is there as it looks on the picture
    await load([mask], LARGE);
  }
  if (mask || painting?.id !== id) painting = makePainting(id, mask);
  [current, mode] = [id, "paint"];
}

async function compare(other) {
  pair = [other, current];
  mode = "compare";
  await open();
}

async function find(offset = 0) {
  const turn = ++turns;
  await attempt(async () => {
    const result = await call("search_images", { ...asked, query: words.value, offset });
    const ids = take(result);
    facts = getData(result);
    next = offset + ids.length;
    order = offset ? [...new Set([...order, ...ids])] : ids;
    sought = words.value;
    if (turn === turns) mode = "wall"; // else a picture is looked at meanwhile
    if (!ids.length) trouble = getText(result);
  });
}

// ---- what is seen ----------------------------------------------------------------------------------------------

function render() {
  main.classList.toggle("waiting", !current);
  progress.hidden = !busy || !progress.contains(bar) || !doing.textContent;
  status.textContent = trouble;
  status.classList.toggle("bad", Boolean(trouble));
  painting?.judge();
  const parts = { look: drawPicture, compare: drawComparison, paint: drawPainter, wall: drawWall }[mode]();
  refill(stage, parts.key, parts.build);
  const { displayMode } = host.context;
  refill(actions, [mode, current, busy > 0, kept.has(current), displayMode, canCall(), facts.total, next, order, inputs, pair].join(), listActions);
  drawStrip();
  refill(about, `${mode} ${current} ${Object.keys(pictures.get(current) ?? {})}`, () => (mode === "look" && current ? describeCurrent() : []));
}

/** Puts elements in place of others when what they show is new; who uses the keyboard stays where they were. */
function refill(element, key, build) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  const held = element.contains(document.activeElement) ? document.activeElement : null;
  const place = held ? [...element.querySelectorAll("button")].indexOf(held) : -1;
  element.replaceChildren(...build());
  const pressed = element.querySelector('.thumb[aria-pressed="true"]');
  if (pressed) element.scrollLeft = pressed.offsetLeft - element.offsetLeft - (element.clientWidth - pressed.clientWidth) / 2;
  if (held) (pressed ?? element.querySelectorAll("button")[place] ?? main).focus({ preventScroll: true });
}

function drawPicture() {
  const picture = pictures.get(current);
  const src = picture?.src ?? "";
  const waiting = busy || !isShown || trouble ? "" : "No picture.";
  return {
    key: `look ${current} ${src.length} ${waiting}`,
    build: () => [src ? make("img", { className: "picture", src, alt: `${getName(current)} ${picture.about ?? picture.prompt ?? ""}` }) : make("p", { className: "empty", textContent: waiting })],
  };
}

function drawComparison() {
  const [before, after] = pair.map(describe);
  return {
    key: `compare ${pair} ${before.src.length} ${after.src.length}`,
    build: () => {
      const slider = makeSlider(before, after);
      fit(slider, before);
      return [slider];
    },
  };
}

const drawPainter = () => ({ key: `paint ${current} ${painting.mask}`, build: () => painting.parts });

function makePainting(id, from) {
  const picture = describe(id);
  const prompt = make("input", { type: "text", placeholder: "What shall be there?", "aria-label": "What shall be there?", oninput: () => judge() });
  const inpaint = makeButton("Inpaint", () => finishMask(true), { className: "main" });
  const save = makeButton("Keep mask", () => finishMask(false));
  let isEmpty = true;
  const judge = () => {
    save.disabled = isEmpty;
    inpaint.disabled = isEmpty || !prompt.value.trim() || busy > 0;
  };
  const painter = makeMaskPainter(picture, { mask: from && pictures.get(from).src, onchange: (empty) => ((isEmpty = empty), judge()) });
  const finishMask = (goesOn) =>
    attempt(async () => {
      const result = await call("paint_mask", { image: id, mask: painter.toDataURL() });
      const [{ id: mask }] = getData(result).pictures;
      tell(`painted the mask ${mask} over ${id}`);
      trouble = `The mask is ${mask}.`;
      if (goesOn) await produce(`inpainted with ${mask}: ${prompt.value}`, "generate_image", { prompt: prompt.value, canvas: id, mask });
    });
  fit(painter.element.querySelector(".paper"), picture);
  const parts = [painter.element, make("div", { className: "fill" }, prompt, ...(facts.tools === "simple" ? [] : [inpaint]), save)];
  judge();
  return { id, mask: from, parts, judge };
}

function drawWall() {
  const tile = (id) => {
    const { src, about: row } = pictures.get(id);
    const inside = src ? make("img", { src, alt: "", loading: "lazy" }) : make("span", { className: "empty", textContent: row ?? "" });
    return make("button", { type: "button", className: "tile", title: row ?? id, "aria-label": row ?? id, onclick: () => go(id) }, inside, make("span", { textContent: id }));
  };
  const name = `Found: ${sought}`;
  return { key: `wall ${order} ${sought}`, build: () => [make("div", { className: "wall", role: "group", "aria-label": name }, ...order.map(tile))] };
}

/** As wide as the view, but not so high that its ends cannot be seen together. */
function fit(element, { width, height }) {
  element.style.aspectRatio = `${width} / ${height}`;
  element.style.width = `min(100%, calc(var(--high) * ${width / height}))`;
}

function drawStrip() {
  const ids = mode === "look" ? order : [];
  strip.hidden = ids.length < 2;
  const thumb = (id) =>
    makeButton("", () => go(id), { className: "thumb", "aria-pressed": String(id === current), "aria-label": getName(id) });
  const build = (id) => {
    const button = thumb(id);
    const { src } = pictures.get(id);
    const [width, height] = getSize(id); // known before it is decoded, so that nothing moves
    button.append(src ? make("img", { src, alt: "", width, height }) : "", make("span", { textContent: kept.has(id) ? `${id} ★` : getName(id) }));
    return button;
  };
  refill(strip, [current, ...ids.map((id) => `${id} ${kept.has(id)} ${Boolean(pictures.get(id).src)}`)].join(), () => ids.map(build));
}

function listActions() {
  if (!canCall()) return [];
  const back = (text, wanted) => makeButton(text, () => ((mode = wanted), render()));
  if (mode === "wall") return facts.total > next ? [makeButton("More", () => find(next))] : [];
  if (mode === "paint") return [back("Back", "look"), ...drawModes()];
  if (mode === "compare") return [...drawPair(), makeButton("Look at one", () => go(pair[1])), ...drawModes()];
  if (!current || current.startsWith("#")) return /[a-z]/.test(current) ? [makeButton("Whole picture", () => go(current.slice(1)))] : [];
  const isOurs = current.startsWith("v") && (facts.tools !== "simple" || Boolean(facts.prompt));
  const off = { disabled: Boolean(busy) };
  const [other] = others();
  return [
    ...(view === "search" ? [back("All", "wall")] : []),
    makeButton(kept.has(current) ? "★ Kept" : "☆ Keep", keep, { "aria-pressed": String(kept.has(current)) }),
    ...(isOurs ? [makeButton("Again", again, off), makeButton("Vary", vary, off)] : []),
    makeButton("Bigger", enlarge, off),
    makeButton("Paint a mask", () => attempt(paint), off),
    ...(other ? [makeButton("Compare", () => attempt(() => compare(other)))] : []),
    ...drawModes(),
  ];
}

function drawPair() {
  const all = [...new Set([...pair, ...others(), ...(current ? [current] : [])])];
  const choose = (place, text) => {
    const select = make("select", { "aria-label": text, onchange: () => ((pair[place] = select.value), attempt(open)) },
      ...all.map((id) => make("option", { value: id, textContent: id, selected: id === pair[place] })));
    return select;
  };
  return all.length > 2 ? [choose(0, "Left"), choose(1, "Right")] : [];
}

function drawModes() {
  const { displayMode, availableDisplayModes = [] } = host.context;
  const wanted = displayMode === "fullscreen" ? "inline" : "fullscreen";
  if (!availableDisplayModes.includes(wanted)) return [];
  return [makeButton(wanted === "inline" ? "Smaller" : "Full screen", () => attempt(() => host.request("ui/request-display-mode", { mode: wanted })))];
}

function describeCurrent() {
  const { size, seed, model, simulated, about: row, prompt } = pictures.get(current) ?? {};
  const parts = [getName(current), size && `${size[0]}×${size[1]}`, seed !== undefined && `seed ${seed}`, model, simulated && "simulated"];
  const text = row ?? prompt;
  return [
    make("div", { className: "facts", textContent: parts.filter(Boolean).join(" · ") }),
    ...(text ? [make("div", { className: "prompt", dir: "auto", textContent: text })] : []),
  ];
}

// ---- the chat around it ----------------------------------------------------------------------------------------

main.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const at = order.indexOf(current) + step;
  if (!step || mode !== "look" || event.target.matches("input, select") || !order[at]) return;
  go(order[at]);
});

function settle() {
  if (isAwaited) busy--;
  [isAwaited, isShown] = [false, true];
}

const host = await connect({
  context: render,
  input: (args) => {
    asked = args;
    sought = words.value = args.query ?? "";
    if (isShown || isAwaited || !(view === "result" || args.operation === "upscale")) return;
    isAwaited = true;
    begin(args);
  },
  result: (result) => {
    if (isShown) return; // another one is an answer to a call of ours, which heard it
    settle();
    show(result);
  },
  cancelled: () => {
    if (isShown) return;
    settle();
    trouble = "The call was cancelled.";
    render();
  },
});
