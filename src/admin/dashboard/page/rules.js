// The rules: rates now, denials over the last minutes, and which one the large chart shows.

import { Chart, Spark } from "./chart.js";
import { byId, element, setShown, setText, Table } from "./dom.js";
import { clock, count, limits, percent, plain, rate, whole } from "./format.js";
import { largest, WINDOW } from "./series.js";
import { RATE_SECONDS } from "./totals.js";

/** Rows on the page at once, however many rules there are. */
const ROWS = 15;
const TREND_SECONDS = 120;

const ORDERS = {
  rate: (row) => row.rate * 1e6 + row.rule.counts.requests / 1e12,
  denied: (row) => row.denied * 1e6 + row.rule.counts.denied / 1e9 + row.rate / 1e12,
  share: (row) => row.share,
  requests: (row) => row.rule.counts.requests,
  denials: (row) => row.rule.counts.denied,
};

export class Rules {
  constructor(usage) {
    this.usage = usage;
    this.order = "rate";
    this.page = 0;
    this.chosen = null;
    this.chart = new Chart(byId("rates-chart"), "Checks per second of the last 5 minutes");
    this.table = new Table(byId("rules-table"), "Rules with their rates", this.#columns(), (by) => {
      [this.order, this.page] = [by, 0];
      this.show();
    });
    this.find = byId("rules-find");
    this.find.addEventListener("input", () => {
      this.page = 0;
      this.show();
    });
    byId("rates-all").addEventListener("click", () => this.#choose(null));
    this.#pager();
  }

  #columns() {
    const choice = () => {
      const button = element("button", { type: "button", className: "rule" });
      button.addEventListener("click", () => this.#choose(button.value === this.chosen ? null : button.value));
      return element("div", {}, button, element("span", { className: "detail muted" }));
    };
    const sparks = new WeakMap();
    const spark = () => {
      const made = new Spark();
      sparks.set(made.canvas, made);
      return made.canvas;
    };
    return [
      {
        title: "Rule", make: choice, className: "name",
        update: (cell, { rule }) => {
          const [button, detail] = cell.firstChild.children;
          button.value = rule.rule;
          setText(button, plain(rule.rule));
          button.setAttribute("aria-pressed", String(rule.rule === this.chosen));
          setText(detail, limits(rule.limits));
        },
      },
      { title: "Checks/s", number: true, sort: "rate", text: (row) => rate(row.rate) },
      { title: "Denied/s", number: true, sort: "denied", className: "denied", text: (row) => (row.denied > 0 ? rate(row.denied) : "0") },
      { title: "Denied", number: true, side: true, sort: "share", text: (row) => percent(row.share) },
      {
        title: "2 min", make: spark, className: "trend",
        update: (cell, { rule }) => sparks.get(cell.firstChild).show(rule.ring?.read(this.usage.tick, TREND_SECONDS) ?? null),
      },
      { title: "All checks", number: true, side: true, sort: "requests", text: ({ rule }) => count(rule.counts.requests) },
      { title: "All denied", number: true, side: true, sort: "denials", text: ({ rule }) => count(rule.counts.denied) },
    ];
  }

  #pager() {
    const turn = (by) => () => {
      this.page += by;
      this.show();
    };
    this.before = element("button", { type: "button", className: "quiet", onclick: turn(-1) }, "Previous");
    this.after = element("button", { type: "button", className: "quiet", onclick: turn(1) }, "Next");
    this.place = element("span", { className: "muted" });
    byId("rules-pager").append(this.before, this.place, this.after);
  }

  #choose(rule) {
    this.chosen = rule;
    this.show();
  }

  /** A row for each rule that is looked for, with its rates. */
  #rows() {
    const wanted = this.find.value.trim().toLowerCase();
    const seconds = Math.min(RATE_SECONDS, Math.max(1, this.usage.events - 1));
    const rows = [];
    for (const rule of this.usage.rules.values()) {
      if (wanted !== "" && !rule.rule.toLowerCase().includes(wanted)) continue;
      const recent = rule.ring?.sum(this.usage.tick, seconds) ?? { admitted: 0, denied: 0 };
      const all = recent.admitted + recent.denied;
      const share = rule.counts.requests > 0 ? rule.counts.denied / rule.counts.requests : 0;
      rows.push({ rule, rate: all / seconds, denied: recent.denied / seconds, share });
    }
    return rows;
  }

  show() {
    const rows = this.#rows();
    const pages = Math.max(1, Math.ceil(rows.length / ROWS));
    this.page = Math.min(Math.max(0, this.page), pages - 1);
    const listed = largest(rows, (this.page + 1) * ROWS, ORDERS[this.order]).slice(this.page * ROWS);
    this.table.sorted(this.order);
    this.table.show(listed, this.find.value === "" ? "No rule is in force." : "No rule has this in its path.");
    setText(byId("rules-note"), `${whole(this.usage.rules.size)} in all`);
    setShown(byId("rules-pager"), pages > 1);
    setText(this.place, `Page ${whole(this.page + 1)} of ${whole(pages)}`);
    [this.before.disabled, this.after.disabled] = [this.page === 0, this.page === pages - 1];
    this.#showChart();
  }

  #showChart() {
    const { usage } = this;
    const rule = this.chosen === null ? undefined : usage.rules.get(this.chosen);
    if (!rule) this.chosen = null;
    setText(byId("rates-subject"), rule ? plain(rule.rule) : "all rules");
    setShown(byId("rates-all"), rule !== undefined);
    const empty = () => ({ admitted: new Float32Array(WINDOW), denied: new Float32Array(WINDOW) });
    const values = rule ? rule.ring?.read(usage.tick, WINDOW) ?? empty() : usage.ring.read(usage.tick, WINDOW);
    const at = (place) => usage.timeMs - (WINDOW - 1 - place) * 1000;
    const content = { ...values, label: (place) => clock(at(place)), tick: (place) => clock(at(place)), ticks: 5 };
    const sum = (list) => list.reduce((all, value) => all + (value || 0), 0);
    // Not every second: a screen reader would read each change.
    if (!this.summary || usage.events % 15 === 0 || this.summarized !== this.chosen) {
      this.summary = `${whole(sum(values.admitted))} admitted and ${whole(sum(values.denied))} denied in the last 5 minutes`;
      this.summarized = this.chosen;
    }
    this.chart.show(content, this.summary);
  }
}
