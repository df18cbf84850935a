// Before/after: two pictures on top of each other and a line between them that is moved with pointer or arrow keys.
// Shared by the gallery's page and the views of chats; its style is in parts.css.
import { make } from "./make.js";

/**
 * A slider between two pictures, `{src, label}` each. The first one decides about the shape.
 * The labels are shown in the corners and read out.
 */
export function makeSlider(before, after) {
  const picture = (side, { src, label }) => make("img", { src, alt: label, className: side, draggable: false });
  const name = (side, { label }) => make("span", { className: `label ${side}`, textContent: label });
  const range = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50, className: "divider" });
  range.setAttribute("aria-label", `Compare ${before.label} with ${after.label}`);
  const element = make(
    "div",
    { className: "slider" },
    picture("before", before), picture("after", after), make("span", { className: "line" }),
    name("before", before), name("after", after), range,
  );
  const move = () => {
    element.style.setProperty("--at", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${Math.round(range.value)} % ${before.label}`);
  };
  range.addEventListener("input", move);
  move();
  return element;
}
