// Elements and texts. What others wrote becomes text here and nothing else: no function of this page makes markup.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  back: "M15 5l-7 7 7 7",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  brush: "M4 20c3 0 5-1 5-4 0-1.500-1-2.500-2.300-2.500C5 13.500 5 16 4 20zM9 14l9-10 2 2-9 10",
  box: "M5 5h14v14H5z",
  check: "M5 12.500l4.500 4.500L19 7.500",
  close: "M6 6l12 12M18 6L6 18",
  compare: "M12 4v16M4 7h5v10H4zM15 7h5v10h-5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  erase: "M8 19h12M5 14l8-9 6 6-7 8H8z",
  eye: "M3 12s3.500-6 9-6 9 6 9 6-3.500 6-9 6-9-6-9-6zM12 9.500a2.500 2.500 0 100 5 2.500 2.500 0 000-5z",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  folder: "M3 6h6l2 2.500h10V19H3z",
  hide: "M4 4l16 16M9.900 6.300C14 5 18.500 8 21 12c-.7 1.200-1.600 2.300-2.700 3.300M6.200 8C5 9 4 10.400 3 12c2.600 4.300 7 7 11.500 5.600",
  help: "M9 9.500a3 3 0 115 2.200c-1.200.9-2 1.400-2 2.800M12 18v.5",
  into: "M12 15V4M7 9l5-5 5 5M5 15v5h14v-5",
  invert: "M12 4a8 8 0 100 16zM12 4a8 8 0 010 16",
  minus: "M6 12h12",
  more: "M5 12h.1M12 12h.1M19 12h.1",
  next: "M9 5l7 7-7 7",
  plus: "M12 5v14M5 12h14",
  redo: "M19 9H9a5 5 0 000 10h4M15 5l4 4-4 4",
  search: "M11 5a6 6 0 100 12 6 6 0 000-12zM20 20l-4.600-4.600",
  star: "M12 4l2.500 5.200 5.700.8-4.100 4 1 5.700-5.100-2.700-5.100 2.700 1-5.700-4.100-4 5.700-.8z",
  stop: "M7 7h10v10H7z",
  tag: "M4 4h8l8 8-8 8-8-8zM8 8h.1",
  undo: "M5 9h10a5 5 0 010 10h-4M9 5L5 9l4 4",
};

/** An element. Properties that begin with `on` are listeners; others are attributes, `false` leaves one out. */
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked") element[key] = value;
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Gives an element other children; leaves out those that are not there. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

/** A drawn sign, for the eye alone. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" })) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with a sign, and with words when there are any; `label` is what it is called. */
export function button(sign, label, onclick, { words = "", ...properties } = {}) {
  return h("button", { type: "button", title: label, "aria-label": words ? undefined : label, class: words ? "button" : "button square", onclick, ...properties },
    sign && icon(sign), words && h("span", {}, words));
}

/** Says something for a while, for good with `seconds: 0`, with a way to undo it; `{element, close(), say(text)}`. */
export function toast(text, { action, act, seconds = 6, bad = false } = {}) {
  const words = h("span", {}, text);
  const element = h("div", { class: bad ? "toast bad" : "toast" }, words);
  const close = () => { clearTimeout(timer); element.remove(); };
  if (action) element.append(h("button", { type: "button", class: "link", onclick: () => { close(); act(); } }, action));
  element.append(button("close", "Close", close));
  const timer = seconds && setTimeout(close, seconds * 1000);
  document.getElementById("toasts").append(element);
  return { element, close, say: (...now) => words.replaceChildren(...now) };
}

/** Puts a text into the clipboard and says so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https only this machine's own pages have a clipboard.
    const area = h("textarea", { class: "away", "aria-hidden": "true" }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`${what} copied`, { seconds: 2 });
}

/** The key that was pressed, whether or not capitals are on. */
export const keyOf = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);

export const isTyping = (event) => event.target instanceof HTMLElement && event.target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");
