// A chat that shows views: the host part of MCP Apps' own library around a sandboxed frame. The test is its server.
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

const POLICY =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'none'";

/** Opens a view for a call of a tool; what it says stands in `window.seen`. */
window.openView = async ({ html, width, canCall, context }) => {
  window.seen = { asked: [], sizes: [], contexts: [], modes: [], faults: [] };
  document.querySelector("iframe")?.remove();
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.style.cssText = `width: ${width}px; height: 150px; border: 0`;
  document.documentElement.style.colorScheme = context.theme;
  document.body.style.background = context.theme === "dark" ? "#1c1c20" : "#ffffff";
  document.body.append(frame);
  const capabilities = { updateModelContext: { text: {} }, ...(canCall ? { serverTools: {} } : {}) };
  const bridge = new AppBridge(null, { name: "test chat", version: "1" }, capabilities, {
    hostContext: { displayMode: "inline", availableDisplayModes: ["inline", "fullscreen"], ...context },
  });
  bridge.onsizechange = (size) => {
    window.seen.sizes.push(size);
    if (window.seen.modes.at(-1) !== "fullscreen") frame.style.height = `${size.height}px`;
  };
  bridge.oncalltool = (params) => (window.seen.asked.push(params.name), window.callTool(params));
  bridge.onupdatemodelcontext = async (params) => (window.seen.contexts.push(params), {});
  bridge.onrequestdisplaymode = async ({ mode }) => {
    window.seen.modes.push(mode);
    if (mode === "fullscreen") frame.style.height = "900px";
    bridge.sendHostContextChange({ displayMode: mode });
    return { mode };
  };
  const ready = new Promise((resolve) => (bridge.oninitialized = resolve));
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.srcdoc = html.replace('<meta charset="utf-8">', `<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">`);
  await ready;
  window.bridge = bridge;
};
window.sendInput = (args) => window.bridge.sendToolInput({ arguments: args });
window.sendResult = (result) => window.bridge.sendToolResult(result);
window.sendCancelled = () => window.bridge.sendToolCancelled({});
window.closeView = () => window.bridge.teardownResource({});
/** Another page beside the view, which says something to it. */
window.sayFromElsewhere = (message) =>
  new Promise((done) => {
    const stranger = document.createElement("iframe");
    const script = `parent.frames[0].postMessage(${JSON.stringify(message)}, "*")`;
    stranger.srcdoc = `<script>${script.replaceAll("</", "<\\/")}; parent.postMessage("said", "*")</script>`;
    window.addEventListener("message", ({ data }) => data === "said" && done(stranger.remove()));
    document.body.append(stranger);
  });
window.sendContext = (changes) => window.bridge.sendHostContextChange(changes);
