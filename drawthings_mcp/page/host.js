// The chat that shows a view: JSON-RPC by postMessage, as MCP Apps (2026-01-26) has it. Only the views use it.

const PROTOCOL = "2026-01-26";

/**
 * Greets the chat. `on` has listeners: `input(arguments)`, `result(result)`, `cancelled()`, `context(context)`.
 *
 * @returns `{can, context, request(method, params), notify(method, params)}`; `can` is what the chat is able to do,
 *   and `request` throws an Error with its words, or because the chat put the view away.
 */
export async function connect(on) {
  const waiting = new Map();
  let count = 0;
  let isOver = false;
  const send = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const notify = (method, params = {}) => send({ method, params });
  const request = (method, params = {}) =>
    new Promise((resolve, reject) => {
      if (isOver) throw new Error("The chat has closed this.");
      waiting.set(++count, { resolve, reject });
      send({ id: count, method, params });
    });
  const context = {};
  const adopt = (changes) => {
    Object.assign(context, changes);
    on.context(context);
  };
  const hear = {
    "ui/notifications/tool-input": (params) => on.input(params.arguments ?? {}),
    "ui/notifications/tool-result": (params) => on.result(params),
    "ui/notifications/tool-cancelled": () => on.cancelled(),
    "ui/notifications/host-context-changed": adopt,
  };
  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || data?.jsonrpc !== "2.0") return;
    if (data.method === undefined) {
      const asked = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) asked?.reject(new Error(data.error.message));
      else asked?.resolve(data.result);
    } else if (data.id === undefined) {
      hear[data.method]?.(data.params ?? {});
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
  adopt(greeting.hostContext ?? {});
  notify("ui/notifications/initialized");
  return { can: greeting.hostCapabilities ?? {}, context, request, notify };
}
