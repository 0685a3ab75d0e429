// Who asks most, and who is denied most: single counters, or the values of the keys by which requests are counted.

import { byId, element, setText, Table } from "./dom.js";
import { count, entries, plain, whole } from "./format.js";
import { largest } from "./series.js";

const ROWS = 10;
const BY_COUNTER = "counter";

export class Callers {
  constructor(usage) {
    this.usage = usage;
    this.by = byId("callers-by");
    this.order = byId("callers-order");
    this.options = "";
    const columns = (what) => [
      {
        title: "Caller", className: "name",
        make: () => element("div", {}, element("span", { className: "title" }), element("span", { className: "detail muted" })),
        update: (cell, { caller }) => {
          const [title, detail] = cell.firstChild.children;
          setText(title, nameOf(caller.row));
          setText(detail, placeOf(caller.row));
        },
      },
      { title: "Last minute", number: true, className: what, text: (row) => count(row[what].minute) },
      { title: "Since start", number: true, text: (row) => count(row[what].start) },
    ];
    this.busiest = new Table(byId("busiest"), "Busiest callers, in checks", columns("checks"));
    this.denied = new Table(byId("denied"), "Most denied callers, in denied checks", columns("denials"));
    for (const choice of [this.by, this.order]) choice.addEventListener("change", () => this.show());
    this.offer([]);
  }

  /** The keys to choose from, besides single counters. */
  offer(keys) {
    const named = [...new Set(keys)].sort();
    if (named.join("\n") === this.options && this.by.options.length > 0) return;
    this.options = named.join("\n");
    const chosen = this.by.value;
    const option = (value, text) => element("option", { value }, text);
    this.by.replaceChildren(option(BY_COUNTER, "counter"), ...named.map((key) => option(`key ${key}`, `requests by ${plain(key)}`)));
    if ([...this.by.options].some(({ value }) => value === chosen)) this.by.value = chosen;
  }

  show() {
    const { tick } = this.usage;
    const key = this.by.value.startsWith("key ") ? this.by.value.slice(4) : null;
    const rows = [];
    for (const caller of this.usage.callers.values()) {
      const isRequest = caller.row.key !== undefined;
      if (isRequest !== (key !== null) || (isRequest && caller.row.key !== key)) continue;
      const minute = caller.minutes?.sum(tick, 60) ?? { admitted: 0, denied: 0 };
      rows.push({
        caller,
        checks: { minute: Math.round(minute.admitted + minute.denied), start: caller.counts.requests },
        denials: { minute: Math.round(minute.denied), start: caller.counts.denied },
      });
    }
    // What is equal in the chosen order follows the other one.
    const rank = (what) => this.order.value === "minute"
      ? (row) => row[what].minute + row[what].start / 1e15 : (row) => row[what].start;
    const active = (what) => rows.filter((row) => row[what].start > 0);
    this.busiest.show(largest(active("checks"), ROWS, rank("checks")), "No check yet.");
    this.denied.show(largest(active("denials"), ROWS, rank("denials")), "Nobody has been denied.");
    setText(byId("callers-note"), `of the ${whole(rows.length)} at the top`);
  }
}

function nameOf(row) {
  if (row.other) return "all others";
  return row.key === undefined ? entries(row.entries ?? []) : plain(row.value);
}

function placeOf(row) {
  return row.key === undefined ? plain(row.rule) : `${plain(row.key)} in ${plain(row.domain)}`;
}
