// What the server is asked. Everything is same-origin JSON; the cookie comes along by itself.

export class Refused extends Error {
  constructor(message, status) { super(message); this.status = status; }
}

const listeners = [], silences = [];
let isSilent = false;
export const onSignedOut = (listener) => listeners.push(listener);
/** `listener(isSilent)` is told when the server answers no more, and when it does again. */
export const onSilence = (listener) => silences.push(listener);
const noteSilence = (now) => { if (now !== isSilent) { isSilent = now; silences.forEach((listener) => listener(now)); } };

async function ask(method, path, { json, data, signal } = {}) {
  const headers = json === undefined ? (data ? { "Content-Type": "application/octet-stream" } : {}) : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, headers, body: json === undefined ? data : JSON.stringify(json), signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    noteSilence(true);
    throw new Refused("The server does not answer. Is it still running?", 0);
  }
  noteSilence(false);
  if (response.status === 401 && path !== "/sign-in") listeners.forEach((listener) => listener());
  const answer = response.headers.get("content-type")?.startsWith("application/json") ? await response.json() : { error: await response.text() };
  if (!response.ok) throw new Refused(answer.error, response.status);
  return answer;
}

export const get = (path, values = {}, signal) => {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return ask("GET", `${path}?${query}`, { signal });
};
export const post = (path, json) => ask("POST", path, { json });
export const remove = (path) => ask("DELETE", path);
export const send = (path, data) => ask("POST", path, { data });

const EDGES = [256, 512, 1024];
/** The address of a small picture that has enough pixels for a side on this screen. */
export const thumbnail = (id, side) => {
  const wanted = side * Math.min(devicePixelRatio, 2);
  return `/gallery/thumbnails/${id}?edge=${EDGES.find((edge) => edge >= wanted * 0.9) ?? 1024}`;
};
export const original = (id) => `/images/${id}`;
