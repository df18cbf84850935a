// The chat that shows a view: JSON-RPC by postMessage, as MCP Apps (2026-01-26) has it. Only the views use it.

const PROTOCOL = "2026-01-26";

/**
 * Greets the chat, dresses the view as it wants, and keeps it told how large the view is. `on` has listeners:
 * `input(arguments)`, `result(result)`, `cancelled()`, `context()`; none is called before this returns.
 *
 * @returns `{can, context, request(method, params), notify(method, params)}`; `can` is what the chat is able to do,
 *   and `request` throws an Error with its words, or because the chat put the view away.
 */
export async function connect(on) {
  const waiting = new Map();
  const early = [];
  const context = {};
  let count = 0;
  let isListening = false;
  let isOver = false;
  let reported = ""; // the size that the chat knows
  const send = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const notify = (method, params = {}) => send({ method, params });
  const request = (method, params = {}) =>
    new Promise((resolve, reject) => {
      if (isOver) throw new Error("The chat has closed this.");
      waiting.set(++count, { resolve, reject });
      send({ id: count, method, params });
    });
  const report = () => {
    const [width, height] = [window.innerWidth, Math.ceil(document.documentElement.getBoundingClientRect().height)];
    if (reported === `${width} ${height}`) return;
    reported = `${width} ${height}`;
    notify("ui/notifications/size-changed", { width, height });
  };
  const adopt = (changes) => {
    if (changes.displayMode) reported = ""; // the frame has another size from now on
    dress(Object.assign(context, changes));
    on.context();
    requestAnimationFrame(report);
  };
  const listeners = {
    "ui/notifications/tool-input": (params) => on.input(params.arguments ?? {}),
    "ui/notifications/tool-result": (params) => on.result(params),
    "ui/notifications/tool-cancelled": () => on.cancelled(),
    "ui/notifications/host-context-changed": adopt,
  };
  const hear = (data) => (isListening ? listeners[data.method]?.(data.params ?? {}) : early.push(data));
  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || data?.jsonrpc !== "2.0") return;
    if (data.method === undefined) {
      const asked = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) asked?.reject(new Error(data.error.message));
      else asked?.resolve(data.result);
    } else if (data.id === undefined) {
      hear(data);
    } else if (["ping", "ui/resource-teardown"].includes(data.method)) {
      isOver ||= data.method !== "ping";
      send({ id: data.id, result: {} });
    } else {
      send({ id: data.id, error: { code: -32601, message: "Method not found" } });
    }
  });
  const greeting = await request("ui/initialize", {
    protocolVersion: PROTOCOL,
    appInfo: { name: "drawthings-mcp", title: "Draw Things", version: "1" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
  });
  notify("ui/notifications/initialized");
  setTimeout(() => {
    isListening = true;
    adopt(greeting.hostContext ?? {});
    early.forEach(hear);
    new ResizeObserver(() => requestAnimationFrame(report)).observe(document.body);
  });
  return { can: greeting.hostCapabilities ?? {}, context, request, notify };
}

/** Colours, fonts and room as the chat has them. */
function dress({ theme, styles, displayMode = "inline", safeAreaInsets, containerDimensions }) {
  const { style, dataset } = document.documentElement;
  const { height, maxHeight } = containerDimensions ?? {};
  if (theme) style.colorScheme = dataset.theme = theme;
  for (const [name, value] of Object.entries(styles?.variables ?? {})) if (name.startsWith("--")) style.setProperty(name, value ?? "");
  for (const side of ["top", "right", "bottom", "left"]) style.setProperty(`--inset-${side}`, `${safeAreaInsets?.[side] ?? 0}px`);
  if (height ?? maxHeight) style.setProperty("--room", `${height ?? maxHeight}px`);
  dataset.mode = displayMode;
}
