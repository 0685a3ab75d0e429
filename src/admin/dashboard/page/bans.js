// Counters that are banned, and those whose queue holds hits.

import { explain, json, poll } from "./access.js";
import { byId, setText, showLines } from "./dom.js";
import { entries, instant, length, plain, relative, whole } from "./format.js";

const EVERY_MS = 5_000;
const ROWS = 8;
/** Parts of the store that are searched for one answer: 200,000 counters each. */
const MAX_PAGES = 5;

export function bans(domain, usage) {
  const [list, queues] = [byId("bans-list"), byId("queues-list")];
  const fail = (error) => {
    showLines(list, [], explain(error));
    showLines(queues, [], explain(error));
    setText(byId("bans-note"), "");
  };
  const show = ({ banned, queued }) => {
    showLines(list, banned.counters.map((counter) => ban(counter, usage.timeMs)), "No counter is banned.");
    showLines(queues, queued.counters.map(queue), "No hit waits in a queue.");
    const more = [banned, queued].some((found) => found.more);
    setText(byId("bans-note"), banned.matched > ROWS || more ? `${whole(banned.matched)} banned${more ? ", of those searched" : ""}` : "");
  };
  const ask = async () => ({ banned: await search(domain, "banned"), queued: await search(domain, "queued") });
  return poll(EVERY_MS, ask, show, fail);
}

async function search(domain, what) {
  const found = { counters: [], matched: 0, more: false };
  let token = "";
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await json("/api/v1/counters", { domain, [what]: "true", top: ROWS, page_token: token });
    found.counters.push(...answer.counters);
    found.matched += Number(answer.matched);
    token = answer.nextPageToken;
    if (token === "") break;
  }
  found.more = token !== "";
  found.counters.sort((a, b) => Number(b.used) - Number(a.used)).splice(ROWS);
  return found;
}

function ban(counter, now) {
  const until = Date.parse(counter.bannedUntil);
  return {
    title: named(counter),
    detail: `${plain(counter.rule)}, until ${instant(until)} (${relative(until, now)})`,
    mark: "denied",
  };
}

function queue(counter) {
  return {
    title: named(counter),
    detail: `${plain(counter.rule)}: ${whole(Number(counter.queued))} waiting, empty in ${length(seconds(counter.reset) * 1000)}`,
    mark: "queued",
  };
}

function named(counter) {
  return entries(counter.entries.map(({ key, value }) => [key, value]));
}

function seconds(text) {
  return Number.parseFloat(text ?? "0");
}
