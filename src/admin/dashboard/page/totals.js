// The tiles: what happens now, and what was counted since the start.

import { byId, element, setText, setShown } from "./dom.js";
import { count, length, percent, rate, whole } from "./format.js";
import { WINDOW } from "./series.js";

/** Seconds that a rate is the average of. */
export const RATE_SECONDS = 10;

const TILES = [
  { name: "checks", label: "Checks per second" },
  { name: "admitted", label: "Admitted per second" },
  { name: "denied", label: "Denied per second" },
  { name: "share", label: "Denied, last 5 min" },
  { name: "queued", label: "Queued checks" },
  { name: "unmatched", label: "Without a rule" },
  { name: "counters", label: "Counters" },
];

export class Totals {
  constructor() {
    const parent = byId("totals");
    this.tiles = new Map(TILES.map(({ name, label }) => {
      const tile = {
        value: element("dd", { className: "value" }, "–"), detail: element("dd", { className: "detail muted" }, " "),
      };
      tile.node = element("dl", { className: `tile ${name}` }, element("dt", {}, label), tile.value, tile.detail);
      parent.append(tile.node);
      return [name, tile];
    }));
  }

  #set(name, value, detail, title = "") {
    const tile = this.tiles.get(name);
    setText(tile.value, value);
    setText(tile.detail, detail);
    if (tile.node.title !== title) tile.node.title = title;
  }

  /** The usage, and the status of the process if it is known. */
  show(usage, process) {
    const { total, ring, tick } = usage;
    const recent = ring.sum(tick, Math.min(RATE_SECONDS, Math.max(1, usage.events - 1)));
    const seconds = Math.min(RATE_SECONDS, Math.max(1, usage.events - 1));
    const window = ring.sum(tick, WINDOW);
    const admitted = total.requests - total.denied;
    const [now, denied] = [recent.admitted / seconds, recent.denied / seconds];
    this.#set("checks", rate(now + denied), `${count(total.requests)} since the start`, whole(total.requests));
    this.#set("admitted", rate(now), `${count(admitted)} since the start`, whole(admitted));
    this.#set("denied", rate(denied), `${count(total.denied)} since the start`, whole(total.denied));
    this.tiles.get("denied").node.dataset.active = String(denied > 0);
    const all = window.admitted + window.denied;
    const ever = total.requests > 0 ? total.denied / total.requests : 0;
    this.#set("share", percent(all > 0 ? window.denied / all : 0), `${percent(ever)} since the start`);
    const delayed = process ? `${count(process.delayed_replies)} waiting now` : "since the start";
    this.#set("queued", count(total.queued), delayed, whole(total.queued));
    this.#set("unmatched", count(total.unmatched), "descriptors since the start", whole(total.unmatched));
    setShown(this.tiles.get("counters").node, Boolean(process));
    if (process) {
      const share = percent(process.counter_bytes / Math.max(1, process.budget_bytes));
      this.#set("counters", count(process.counters), `${share} of their memory`, whole(process.counters));
    }
  }
}

/** How long the server has been up. */
export function uptime(usage) {
  return length(Math.max(0, usage.timeMs - usage.startedMs));
}
