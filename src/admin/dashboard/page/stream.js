// The stream of usage: server-sent events read by fetch, which can send a token, as EventSource cannot.

import { request, TokenNeeded, Rejected } from "./access.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;
/** An event of 10,000 rules has some megabytes; more is no event of this server. */
const MAX_EVENT_CHARS = 64 << 20;
/** A report comes every second, later from a machine that is busy with checks. After so long the connection is given up. */
const SILENCE_MS = 30_000;

/**
 * Reads events until it is stopped, and connects again when the connection ends. `on.event` is given each event and the signal
 * of the end, and awaited, `on.state` one of "waiting", "live", "lost", the last one with the reason, `on.token` is called when a token is
 * needed. Returns { stop }.
 */
export function usageEvents(domain, on) {
  const ended = new AbortController();
  run(domain, on, ended.signal);
  return { stop: () => ended.abort() };
}

async function run(domain, on, signal) {
  let pause = FIRST_PAUSE_MS;
  on.state("waiting");
  while (!signal.aborted) {
    let why = "the connection ended";
    try {
      await read(domain, signal, async (event) => {
        if (signal.aborted) return;
        pause = FIRST_PAUSE_MS;
        on.state("live");
        await on.event(event, signal);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TokenNeeded) {
        on.token(error);
        return;
      }
      why = error instanceof Rejected ? error.message : "no connection to the server";
    }
    if (signal.aborted) return;
    on.state("lost", why);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

async function read(domain, signal, take) {
  const silence = new AbortController();
  const either = AbortSignal.any([signal, silence.signal]);
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const query = domain === "" ? "" : `?${new URLSearchParams({ domain })}`;
    const response = await request(`/api/v1/usage/events${query}`, { signal: either });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      if (rest.length > MAX_EVENT_CHARS) throw new Error("an event without an end");
      for (const part of parts) {
        const data = dataOf(part);
        if (data !== "") await take(JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** The data of one event, whose lines begin with the name of a field. */
function dataOf(event) {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).trimStart()).join("\n");
}
