// The token, and requests with it.

const KEPT = "tidegate-token";

/** A token is needed, or the one that was given is not known. */
export class TokenNeeded extends Error {}

/** The server answered with an error. */
export class Rejected extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The token of this tab; empty: none. */
export function token() {
  return sessionStorage.getItem(KEPT) ?? "";
}

/** Keeps a token until the tab is closed; an empty one forgets it. */
export function keep(text) {
  if (text === "") {
    sessionStorage.removeItem(KEPT);
  } else {
    sessionStorage.setItem(KEPT, text);
  }
}

/** Whether the port asks for a token. */
export function asksForToken() {
  return document.documentElement.dataset.token === "needed";
}

/** A GET request with the token; fails with TokenNeeded, Rejected, or TypeError without a connection. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token() !== "") headers.set("authorization", `Bearer ${token()}`);
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  if (response.ok) return response;
  const text = await response.text();
  const message = errorOf(text);
  if (response.status === 401) throw new TokenNeeded(message);
  throw new Rejected(response.status, message);
}

/** The JSON at a path, with these parameters; empty ones are left out. */
export async function json(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  const response = await request(query.size > 0 ? `${path}?${query}` : path, { signal });
  return response.json();
}

function errorOf(text) {
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text.trim();
  }
}

/**
 * Asks again and again while the page is visible: `ask` returns what `show` shows, and `fail` is given the error. A question that
 * took long is followed by a longer pause. Returns { again, stop }.
 */
export function poll(everyMs, ask, show, fail) {
  let timer = 0;
  let stopped = false;
  let running = false;
  const round = async () => {
    clearTimeout(timer);
    if (stopped || running) return;
    let pause = everyMs;
    if (!document.hidden) {
      running = true;
      const begun = performance.now();
      try {
        const answer = await ask();
        if (!stopped) show(answer);
      } catch (error) {
        if (!stopped) fail(error);
        if (error instanceof Rejected && error.status === 403) pause = 12 * everyMs;
      }
      running = false;
      pause = Math.max(pause, 20 * (performance.now() - begun));
    }
    if (!stopped) timer = setTimeout(round, pause);
  };
  const seen = () => { if (!document.hidden) round(); };
  document.addEventListener("visibilitychange", seen);
  round();
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
  return { again: round, stop };
}

/** What a section says in place of its content. */
export function explain(error) {
  if (error instanceof Rejected && error.status === 403) return `Not shown: ${error.message}`;
  if (error instanceof Rejected) return error.message;
  if (error instanceof TokenNeeded) return "The token is no longer valid.";
  return "No answer from the server.";
}
