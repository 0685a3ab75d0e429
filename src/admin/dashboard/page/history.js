// The history: what was counted between two dates.

import { explain, json } from "./access.js";
import { Chart } from "./chart.js";
import { byId, setShown, setText, Table } from "./dom.js";
import { count, instant, percent, plain, whole } from "./format.js";

const MINUTE = 60;
const RANGES = { "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000 };
const BUCKETS = [1, 5, 15, 60, 360, 1_440, 10_080, 44_640].map((minutes) => minutes * MINUTE);
/** Points of the chart, and so rows of a query. */
const MAX_POINTS = 180;
const ROWS = 12;
/** Pages of rules that one answer reads, of 1,000 rows each. */
const MAX_PAGES = 10;

export class History {
  constructor(usage) {
    this.usage = usage;
    this.domain = "";
    this.asked = 0;
    this.chart = new Chart(byId("history-chart"), "Checks per second over the range");
    this.table = new Table(byId("history-table"), "Rules over the range", [
      { title: "Rule", className: "name", text: (row) => plain(row.rule) },
      { title: "Checks", number: true, text: (row) => count(row.requests) },
      { title: "Denied", number: true, className: "denied", text: (row) => count(row.denied) },
      { title: "Share", number: true, side: true, text: (row) => percent(row.denied / Math.max(1, row.requests)) },
      { title: "Queued", number: true, side: true, text: (row) => count(row.queued) },
    ]);
    const form = byId("history-range");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.load();
    });
    for (const choice of form.querySelectorAll("input[type=radio]")) {
      choice.addEventListener("change", () => {
        const dates = this.#range() === "dates";
        setShown(byId("history-dates"), dates);
        if (dates) this.#prefill();
        this.load();
      });
    }
  }

  #range() {
    return byId("history-range").elements.range.value;
  }

  #prefill() {
    const [from, to] = [byId("history-from"), byId("history-to")];
    const now = this.usage.timeMs || Date.now();
    if (from.value === "") from.value = instant(now - 86_400_000).replace(" ", "T");
    if (to.value === "") to.value = instant(now).replace(" ", "T");
  }

  /** The range as seconds since 1970, or what is wrong with it. */
  #between() {
    const range = this.#range();
    const now = Math.floor((this.usage.timeMs || Date.now()) / 1000);
    if (range !== "dates") return { from: now - RANGES[range], to: now };
    const [from, to] = [byId("history-from").value, byId("history-to").value].map((text) => Math.floor(Date.parse(text) / 1000));
    if (Number.isNaN(from) || Number.isNaN(to)) return { wrong: "Give both dates." };
    return from < to ? { from, to } : { wrong: "The range is empty: its end must be after its beginning." };
  }

  /** Asks for the range that is chosen. An answer to an earlier question is not shown. */
  async load() {
    const asked = ++this.asked;
    const { from, to, wrong } = this.#between();
    if (wrong) return setText(byId("history-note"), wrong);
    const bucket = BUCKETS.find((length) => (to - from) / length <= MAX_POINTS) ?? BUCKETS.at(-1);
    const wanted = { from, to, domain: this.domain, rule: byId("history-rule").value.trim() };
    setText(byId("history-note"), "Loading");
    try {
      const overTime = await json("/api/v1/usage", { ...wanted, group_by: "time", bucket: `${bucket}s`, page_size: 1_000 });
      const rules = await this.#rules(wanted);
      if (asked !== this.asked) return;
      this.#showChart(overTime, from, to, bucket);
      this.table.show(rules.slice(0, ROWS), "Nothing was counted in this range.");
      setText(byId("history-note"), this.#note(overTime, rules.length));
    } catch (error) {
      if (asked === this.asked) setText(byId("history-note"), explain(error));
    }
  }

  async #rules(wanted) {
    const rules = new Map();
    let token = "";
    for (let page = 0; page < MAX_PAGES; page++) {
      const answer = await json("/api/v1/usage", { ...wanted, group_by: "rule", page_size: 1_000, page_token: token });
      for (const row of answer.rows) rules.set(row.rule, { rule: row.rule, ...countsOf(row) });
      token = answer.nextPageToken;
      if (token === "") break;
    }
    return [...rules.values()].filter((row) => row.requests > 0)
      .sort((a, b) => b.denied - a.denied || b.requests - a.requests);
  }

  #note(answer, rules) {
    const from = `The history begins at ${instant(Date.parse(answer.historyFrom))}`;
    const where = answer.inMemory ? ", in memory only: one hour. Start the server with --data-dir to keep it." : ".";
    return `${from}${where}${rules > ROWS ? ` ${whole(rules)} rules were used.` : ""}`;
  }

  #showChart(answer, from, to, bucket) {
    const first = Math.floor(from / bucket);
    const points = Math.min(MAX_POINTS + 2, Math.max(2, Math.floor((to - 1) / bucket) - first + 1));
    const values = { admitted: new Float32Array(points), denied: new Float32Array(points) };
    // What was before the history began is unknown.
    const unknown = Math.floor(Date.parse(answer.historyFrom) / 1000 / bucket) - first;
    for (const list of [values.admitted, values.denied]) list.fill(NaN, 0, Math.max(0, unknown));
    let [all, denied] = [0, 0];
    for (const row of answer.rows) {
      const counts = countsOf(row);
      const place = Math.floor(Date.parse(row.time) / 1000 / bucket) - first;
      all += counts.requests;
      denied += counts.denied;
      if (place < 0 || place >= points) continue;
      values.admitted[place] += (counts.requests - counts.denied) / bucket;
      values.denied[place] += counts.denied / bucket;
    }
    const at = (place) => (first + place) * bucket * 1000;
    const short = (place) => instant(at(place)).slice(to - from > 86_400 ? 5 : 11);
    const content = { ...values, label: (place) => instant(at(place)), tick: short, ticks: 5 };
    this.chart.show(content, `${whole(all - denied)} admitted and ${whole(denied)} denied`);
  }
}

function countsOf(row) {
  const read = (name) => Number(row.counts?.[name] ?? 0);
  return { requests: read("numRequests"), denied: read("numRequestsDenied"), queued: read("numRequestsQueued") };
}
