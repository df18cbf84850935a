// The page: signing in, searching, the wall, and what lies over it.

import { get, onSignedOut, onSilence, post, send } from "./api.js";
import { button, copy, fill, h, icon, isTyping, keyOf, toast } from "./dom.js";
import { Renders, makeRenderForm } from "./renders.js";
import { openPicture } from "./picture.js";
import { Wall } from "./wall.js";

const app = document.getElementById("app"), over = document.getElementById("over");
const AT_ONCE = 4; // Files that are each told of by name.
const ID = /^[avpi][1-9]\d*$/;
const PLACES = [["", "Library"], ["v", "Generated"], ["a", "Brought in"], ["i", "Made from others"], ["all", "All that is indexed"], ["folders", "Folders"], ["projects", "Projects of the app"], ["web", "The web"], ["hidden", "Hidden"]];
const LISTED = { i: { kinds: "i" }, hidden: { shown: "hidden" } }; // Places that are not searched.
const SORTS = [["", "Order"], ["newest", "Newest"], ["best", "Best match"], ["oldest", "Oldest"], ["rating", "Rating"], ["size", "Size"]];
const RATINGS = [["", "Any rating"], ["5", "★★★★★"], ["4", "★★★★ or more"], ["3", "★★★ or more"], ["1", "Rated"]];
const TIMES = [["", "Any time"], ["today", "Today"], ["7d", "7 days"], ["30d", "30 days"], ["1y", "A year"]];
const SHAPES = [["", "Any shape"], ["landscape", "Landscape"], ["portrait", "Portrait"], ["square", "Square"], [">=2048", "2048 pixels or more"]];

let state = { tags: {}, is_local: false, undo_seconds: 15 };
let wall, renders, comparing = null, routed = 0, asked = 0;

const fail = (error) => { if (error.status !== 401 && error.status !== 0) toast(error.message, { bad: true, seconds: 10 }); };

// -- Signing in ------------------------------------------------------------------------------------------------------

async function start() {
  const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
  let problem = "";
  if (code) {
    history.replaceState(null, "", "/"); // it is worth nothing any more, and needs no place in the history
    try { await post("/sign-in", { code }); } catch (error) { problem = error.message; }
  }
  // Who is signed in already needs no link that works.
  try { state = await get("/gallery/state"); } catch (error) { showSignIn(error.status === 401 ? problem : error.message); return; }
  showWall();
}

function showSignIn(problem = "") {
  const input = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, id: "token", "aria-describedby": "problem" });
  const said = h("p", { id: "problem", class: "warn", role: "alert" }, problem);
  const form = h("form", { class: "sign-in", onsubmit: async (event) => {
    event.preventDefault();
    try { await post("/sign-in", { token: input.value.trim() }); location.reload(); } catch (error) { said.textContent = error.message; }
  } }, h("img", { src: "/page/icon.svg", alt: "", width: "56", height: "56" }), h("h1", {}, "Gallery"),
  h("p", {}, "Open the link that the server printed, run ", h("code", {}, "drawthings-mcp gallery"), ", or sign in with your token."),
  h("label", { for: "token" }, "Token"), input, said, h("button", { class: "button strong" }, "Sign in"));
  app.replaceChildren(h("main", { class: "gate" }, form));
  over.replaceChildren();
  wall = undefined;
  input.focus();
}

let gone;
onSilence((isSilent) => {
  if (isSilent) gone = toast("The server does not answer. Start it again, or check the network; this page goes on by itself.", { bad: true, seconds: 0 });
  else { gone.close(); wall?.resume(); }
});

onSignedOut(() => { if (!app.querySelector(".sign-in")) showSignIn(); });

// -- The wall --------------------------------------------------------------------------------------------------------

const choice = (name, label, options) => h("select", { name, "aria-label": label, onchange: () => search() }, options.map(([value, text]) => h("option", { value }, text)));

function showWall() {
  const input = h("input", { type: "search", name: "query", placeholder: "Search: words, -without, \"a phrase\", model:flux, rating:>=4", "aria-label": "Search", autocomplete: "off", spellcheck: "false", enterkeyhint: "search", oninput: () => searchSoon(),
    onkeydown: (event) => { if (event.key === "Enter") search(); } });
  const selects = [choice("place", "Where", PLACES), choice("sort", "Order", SORTS), choice("rating", "Rating", RATINGS), h("select", { name: "tag", "aria-label": "Tag", onchange: () => search() }),
    choice("since", "Since", TIMES), choice("size", "Shape", SHAPES)];
  const filters = h("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, selects,
    button("", "Take all filters off", () => { filters.reset(); input.value = ""; search(); }, { words: "Clear", class: "button clear", hidden: true }));
  const count = h("p", { class: "count", role: "status" });
  const bar = h("div", { class: "selection", role: "toolbar", "aria-label": "What is selected", hidden: true });
  wall = new Wall({ load, open, change: drawSelection, failed: (error) => { fail(error); count.textContent = ""; } });
  renders ??= new Renders({ ended, failed: fail });
  const file = h("input", { type: "file", accept: "image/*", multiple: true, class: "away", tabindex: "-1", "aria-hidden": "true", onchange: () => { bring([...file.files]); file.value = ""; } });
  app.replaceChildren(h("header", { class: "head" }, h("a", { class: "brand", href: "#", title: "Gallery" }, h("img", { src: "/page/icon.svg", alt: "Gallery", width: "32", height: "32" })),
    h("div", { class: "search" }, icon("search"), input), button("into", "Bring pictures in: choose, or drop them anywhere", () => file.click(), { words: "Bring in", class: "button narrow first" }), file,
    button("plus", "Make a new picture (N)", () => render(), { words: "New", class: "button narrow strong" }),
    button("help", "Keys (?)", showKeys, { class: "button square wide-only" })), filters, renders.element, h("main", { class: "body" }, h("h1", { class: "away" }, "Gallery"), count, wall.element), bar,
  h("datalist", { id: "known-tags" }));
  Object.assign(app, { input, filters, count, bar });
  drawTags();
  search();
  route();
}

function drawTags() {
  const names = Object.keys(state.tags).filter((one) => !/^rating:\d$/.test(one));
  const { tag } = app.filters.elements, { value } = tag;
  tag.replaceChildren(h("option", { value: "" }, "Any tag"), ...names.map((one) => h("option", { value: one }, `${one} (${state.tags[one]})`)));
  tag.value = names.includes(value) ? value : "";
  document.getElementById("known-tags").replaceChildren(...names.map((one) => h("option", { value: one })));
}

async function refreshTags() {
  state = await get("/gallery/state");
  drawTags();
}

/** What the fields ask for; a library that is not searched is listed by itself, endlessly. */
function ask() {
  const value = (name) => app.filters.elements[name].value;
  const words = [app.input.value.trim(), value("rating") && `rating:>=${value("rating")}`].filter(Boolean).join(" ");
  const place = value("place"), sort = value("sort");
  if (LISTED[place]) return LISTED[place];
  const wanted = { query: words, tag: value("tag"), since: value("since"), size: value("size"), sort };
  const isSearch = Object.values(wanted).some(Boolean) || ["all", "folders", "projects", "web"].includes(place);
  if (!isSearch) return { kinds: place };
  if (place === "a") wanted.query += " source:imported";
  // While words are typed, what fits them best comes first.
  return { ...wanted, sort: sort || (app.input.value.trim() ? "best" : "newest"), source: { "": "all", v: "generated", a: "all" }[place] ?? place };
}

async function load(cursor, signal) {
  const asked = ask(), place = app.filters.elements.place.value, isSearch = Boolean(asked.source);
  if (place === "web" && !app.input.value.trim()) {
    say("Say what to look for on the web, then press Enter.", [], true);
    return { pictures: [], cursor: null, total: 0 };
  }
  const page = await get("/gallery/pictures", { ...asked, cursor: cursor ?? "" }, signal);
  const many = page.total === 1 ? "1 picture" : `${page.is_exact === false ? "at least " : ""}${page.total.toLocaleString()} pictures`;
  const empty = isSearch ? "Nothing was found." : place === "hidden" ? "Nothing is hidden." : "No pictures yet. Drop one here, make one with New, or in a chat.";
  if (LISTED[place] && !wantsNothing(place)) page.notes.push("These are listed, not searched: words and filters count elsewhere.");
  // What is not indexed yet may be what was looked for.
  if (page.is_current === false && !page.pictures.length) setTimeout(() => { if (!signal.aborted) search(); }, 1500);
  say(page.total ? many : empty, page.notes.slice(0, page.total ? 2 : 4), !page.total);
  return page;
}

function say(words, notes, isNothing) {
  app.count.classList.toggle("nothing", isNothing);
  app.count.replaceChildren(h("span", {}, words), ...notes.map((note) => h("span", { class: "note" }, note)));
}

/** Whether all of the library is wanted, or all of a place. */
const wantsNothing = (place = "") => !app.input.value.trim() && [...app.filters.elements].every((one) => one.tagName !== "SELECT" || !one.value || one.value === place);

function search() {
  app.filters.querySelector(".clear").hidden = wantsNothing();
  for (const one of app.filters.querySelectorAll("select")) one.classList.toggle("set", Boolean(one.value));
  wall.unselect();
  return wall.restart();
}

function searchSoon() {
  clearTimeout(asked);
  if (app.filters.elements.place.value !== "web") asked = setTimeout(search, 90); // others hear whole words only
}

function open(id) { location.hash = id; }

function drawSelection(selected) {
  const ids = [...selected];
  app.bar.hidden = !ids.length;
  document.body.classList.remove("selecting");
  if (!ids.length) return;
  document.body.classList.add("selecting");
  fill(app.bar, h("b", {}, `${ids.length} selected`),
    ids.length === 2 && button("compare", "Compare the two", () => { location.hash = `${ids[0]}/compare/${ids[1]}`; }, { words: "Compare" }),
    h("span", { class: "rating", role: "group", "aria-label": "Rate them" }, [1, 2, 3, 4, 5].map((count) => h("button", { type: "button", class: "starred", "aria-label": `${count} of 5 stars`, onclick: () => mark(ids, { rating: count }, "★".repeat(count)) }, icon("star")))),
    h("input", { placeholder: "Add a tag", "aria-label": "Add a tag", maxlength: "64", list: "known-tags", onkeydown: (event) => { if (event.key === "Enter" && event.target.value.trim()) mark(ids, { add: [event.target.value.trim()] }, event.target.value.trim()); } }),
    button("hide", "Hide (H)", () => hide(ids, app.filters.elements.place.value !== "hidden"), { words: app.filters.elements.place.value === "hidden" ? "Show again" : "Hide" }),
    button("bin", "To the bin (Delete)", () => bin(ids), { words: "Bin" }),
    button("close", "Select nothing (Escape)", () => wall.unselect()));
}

// -- What is done with pictures ----------------------------------------------------------------------------------------

async function mark(ids, values, said) {
  try {
    await post("/gallery/tags", { pictures: ids, ...values });
    toast(`${said}: ${ids.length === 1 ? ids[0] : `${ids.length} pictures`}`, { seconds: 3 });
    await refreshTags();
  } catch (error) { fail(error); }
}

async function hide(ids, hidden) {
  try {
    await post("/gallery/hidden", { pictures: ids, hidden });
    leave(ids);
    if (hidden) toast(ids.length === 1 ? `${ids[0]} is hidden` : `${ids.length} pictures are hidden`, { action: "Undo", act: async () => { await post("/gallery/hidden", { pictures: ids, hidden: false }); search(); } });
  } catch (error) { fail(error); }
}

async function bin(ids) {
  try {
    const { pictures, undo_seconds: seconds } = await post("/gallery/bin", { pictures: ids });
    leave(pictures);
    toast(`${pictures.length === 1 ? pictures[0] : `${pictures.length} pictures`} will be in the bin in ${Math.round(seconds)} seconds`, { seconds, action: "Undo", act: async () => {
      try {
        const back = (await post("/gallery/bin/undo", { pictures })).pictures;
        if (back.length < pictures.length) toast("It is in the bin already; put it back from there.", { bad: true });
        search();
      } catch (error) { fail(error); }
    } });
  } catch (error) { fail(error); }
}

/** Leaves the page of a picture that is not on the wall any more. */
function leave(ids) {
  wall.take(ids);
  if (ids.includes(location.hash.slice(1).split("/")[0])) location.hash = "";
}

async function bring(files) {
  const way = toast("", { seconds: 0 }), come = [];
  let refused = 0;
  for (const [place, file] of files.entries()) {
    const name = () => h("bdi", {}, file.name);
    way.say(name(), " is on its way", files.length > 1 ? `, ${place + 1} of ${files.length}` : "");
    try {
      const picture = await bringOne(file);
      come.push(picture.id);
      if (files.length > AT_ONCE) continue;
      toast([name(), ` is ${picture.id}`], { seconds: 12, action: "Open", act: () => open(picture.id) });
      picture.notes.forEach((note) => toast(note));
    } catch (error) { if (++refused <= AT_ONCE) toast([name(), `: ${error.message}`], { bad: true, seconds: 12 }); }
  }
  way.close();
  if (refused > AT_ONCE) toast(`${refused} files were not taken`, { bad: true, seconds: 12 });
  if (files.length > AT_ONCE && come.length) toast(`${come.length} pictures came in, ${come[0]} to ${come.at(-1)}`, { seconds: 12 });
  search();
}

async function bringOne(file) {
  if (file.size > state.max_bytes) throw new Error(`it has ${Math.ceil(file.size / 1e6)} MB; at most ${state.max_bytes / 1e6} MB can come in.`);
  const data = await file.arrayBuffer().catch(() => { throw new Error("it cannot be read; of a folder, drop what is in it."); });
  return send("/gallery/pictures", data);
}

function render(canvas = "", mask = "") {
  makeRenderForm({ canvas, mask, begun: (id) => { location.hash = ""; toast(`${id} has begun`, { seconds: 3 }); renders.begin(id); } });
}

/** What came of a render that was seen on the page. */
function ended(row) {
  if (row.state === "done") {
    if (!wall.selected.size && wall.element.scrollTop < 200 && !over.firstChild) search(); else wall.isStale = true;
    toast(row.pictures.length > 1 ? `${row.pictures.length} pictures are there` : `${row.pictures[0] ?? row.id} is there`, { action: row.pictures.length ? "Open" : undefined, act: () => open(row.pictures[0]) });
  } else toast(row.state === "cancelled" ? `${row.id} was stopped` : `${row.id}: ${row.message}`, { bad: row.state !== "cancelled", seconds: 9 });
}

function compare(id) {
  comparing?.close();
  comparing = { id, ...toast(`Choose the picture to compare ${id} with`, { seconds: 0 }) };
  location.hash = "";
}

// -- What lies over the wall -------------------------------------------------------------------------------------------

async function route() {
  const { hash } = location;
  const [id, ...view] = hash.slice(1).split("/");
  if (!wall || hash.startsWith("#code=")) return;
  if (comparing?.element.isConnected && ID.test(id) && !view.length) {
    comparing.close();
    if (comparing.id !== id) { location.replace(`#${comparing.id}/compare/${id}`); return; }
  }
  const mine = ++routed;
  if (!ID.test(id) || (view[0] === "compare" && !ID.test(view[1] ?? ""))) { closePage(); return; }
  try {
    const page = await openPicture(id, view, { state, wall, bin, hide, fail, compare, render, refreshTags, changed: () => { wall.isStale = true; } });
    if (routed !== mine) return;
    over.replaceChildren(page);
    over.dataset.shown = hash.slice(1);
    app.inert = true;
    document.title = `${page.ariaLabel} · Gallery`;
    page.querySelector("h1").focus({ preventScroll: true });
  } catch (error) { if (routed === mine) { fail(error); location.replace("#"); } }
}

async function closePage() {
  if (!over.firstChild) return;
  delete over.dataset.shown;
  const left = over.querySelector("h1")?.textContent;
  over.replaceChildren();
  app.inert = false;
  document.title = "Draw Things gallery";
  if (wall.isStale) { wall.isStale = false; await search(); }
  const place = wall.items.findIndex((item) => item.id === left);
  wall.focus(place < 0 ? undefined : place);
}

function showKeys() {
  const keys = [["/", "search"], ["arrows", "go along the wall"], ["Enter", "open"], ["Space", "select"], ["1 to 5, 0", "rate"], ["H", "hide"], ["Delete", "to the bin"], ["Ctrl+Z", "take that back"], ["C", "copy the id"], ["M", "paint a mask"], ["+ and −", "zoom"], ["N", "new picture"], ["Escape", "back"]];
  const dialog = h("dialog", { class: "keys", onclose: () => dialog.remove(), "aria-label": "Keys" }, h("h2", {}, "Keys"), h("dl", {}, keys.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])),
    button("close", "Close", () => dialog.close(), { words: "Close" }));
  document.body.append(dialog);
  dialog.showModal();
}

// -- Keys, drops, addresses --------------------------------------------------------------------------------------------

window.addEventListener("hashchange", () => { if (location.hash.startsWith("#code=")) { location.reload(); } else route(); });

document.addEventListener("keydown", (event) => {
  if (!wall || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (isTyping(event)) { event.target.blur(); over.querySelector("h1")?.focus(); }
    else if (over.firstChild) over.querySelector(".top a").click();
    else if (comparing?.element.isConnected) comparing.close();
    else wall.unselect();
    return;
  }
  const key = keyOf(event);
  if (key === "z" && (event.ctrlKey || event.metaKey) && !isTyping(event)) [...document.querySelectorAll(".toast .link")].findLast((one) => one.textContent === "Undo")?.click();
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "?") { showKeys(); return; }
  if (over.firstChild) { over.firstChild.press?.(event); return; }
  const current = document.activeElement?.dataset?.id;
  const ids = wall.selected.size ? [...wall.selected] : current ? [current] : [];
  if (key === "/") app.input.focus();
  else if (key === "n") render();
  else if (!ids.length) return;
  else if (/^[0-5]$/.test(key)) mark(ids, { rating: Number(key) }, key === "0" ? "No rating" : "★".repeat(Number(key)));
  else if (key === "h") hide(ids, app.filters.elements.place.value !== "hidden");
  else if (key === "c") copy(ids.join(" "), ids.join(", "));
  else if (key === "m") location.hash = `${ids[0]}/mask`;
  else if (key === "Delete" || key === "Backspace") bin(ids);
  else return;
  event.preventDefault();
});

let inside = 0;
const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
document.addEventListener("dragenter", (event) => { if (wall && hasFiles(event)) { inside++; document.body.classList.add("dropping"); } });
document.addEventListener("dragleave", () => { inside = Math.max(0, inside - 1); if (!inside) document.body.classList.remove("dropping"); });
document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  inside = 0;
  document.body.classList.remove("dropping");
  if (!wall || !hasFiles(event)) return;
  event.preventDefault();
  bring([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (wall && files.length) bring(files);
});

start();
