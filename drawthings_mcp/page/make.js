// Shared by the gallery's page and the views of chats. Texts of others go in as text only: there is no way to pass HTML.
//
// The views inline these modules into one script: an import is one line of this form, imports nothing under another
// name, and no two modules have a top-level name in common.

/** An element with properties (`on…`: listeners, `aria-…`, `data-…` and `role`: attributes) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(aria|data)-|^role$/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** A button with a text, pressed (true or false) where it is a switch. */
export function makeButton(text, onclick, properties = {}) {
  return make("button", { type: "button", textContent: text, onclick, ...properties });
}
