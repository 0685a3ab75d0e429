// What the events add up to: cumulative counts, and what was counted in each of the last seconds.

/** Seconds that are kept of each series. */
export const WINDOW = 300;
/** Rules of an event that are taken in before the page may draw: one or two milliseconds. */
const ROWS_AT_ONCE = 500;
/** Seconds without an event after which those in between are unknown. */
const GAP_SECONDS = 10;
/** Callers that are kept; of more, those that were seen least recently are forgotten. */
const MAX_CALLERS = 10_000;

/** Checks admitted and denied in each of the last seconds. A second is known by its number, its tick. */
export class Ring {
  /** What was counted until this tick is unknown. */
  constructor(tick) {
    this.admitted = new Float32Array(WINDOW).fill(NaN);
    this.denied = new Float32Array(WINDOW).fill(NaN);
    this.last = tick;
  }

  /** Adds what was counted in each of the `seconds` that end with this tick. */
  put(tick, admitted, denied, seconds) {
    this.#clear(tick);
    for (let at = tick - Math.min(seconds, WINDOW) + 1; at <= tick; at++) {
      this.admitted[at % WINDOW] += admitted;
      this.denied[at % WINDOW] += denied;
    }
  }

  /** Marks the seconds since the last tick as unknown. */
  skip(tick) {
    const from = Math.max(this.last + 1, tick - WINDOW + 1);
    for (let at = from; at < tick; at++) {
      this.admitted[at % WINDOW] = NaN;
      this.denied[at % WINDOW] = NaN;
    }
    this.last = Math.max(this.last, tick - 1);
  }

  /** The numbers of each of the `seconds` before `tick` and of its own, the oldest first, as [admitted, denied]. */
  read(tick, seconds) {
    this.#clear(tick);
    const admitted = new Float32Array(seconds);
    const denied = new Float32Array(seconds);
    for (let at = 0; at < seconds; at++) {
      const place = (tick - seconds + 1 + at + WINDOW) % WINDOW;
      admitted[at] = this.admitted[place];
      denied[at] = this.denied[place];
    }
    return { admitted, denied };
  }

  /** The sums over the last seconds; unknown ones count as nothing. */
  sum(tick, seconds) {
    this.#clear(tick);
    let [admitted, denied] = [0, 0];
    for (let at = 0; at < seconds; at++) {
      const place = (tick - at + WINDOW) % WINDOW;
      admitted += this.admitted[place] || 0;
      denied += this.denied[place] || 0;
    }
    return { admitted, denied };
  }

  #clear(tick) {
    const from = Math.max(this.last + 1, tick - WINDOW + 1);
    for (let at = from; at <= tick; at++) {
      this.admitted[at % WINDOW] = 0;
      this.denied[at % WINDOW] = 0;
    }
    this.last = Math.max(this.last, tick);
  }
}

const FIELDS = ["requests", "denied", "hits", "queued", "banned", "queue_full", "no_room", "hits_shadow_denied", "unlimited",
  "unmatched"];

function countsOf(row) {
  const counts = {};
  for (const field of FIELDS) counts[field] = row?.[field] ?? 0;
  return counts;
}

/** All that is known of the usage. */
export class Usage {
  constructor() {
    this.clear();
  }

  clear() {
    this.instance = "";
    this.startedMs = 0;
    this.timeMs = 0;
    this.tick = WINDOW;
    this.firstTick = WINDOW;
    this.events = 0;
    this.restartedMs = 0;
    this.total = countsOf();
    this.ring = new Ring(this.tick);
    this.rules = new Map();
    this.callers = new Map();
  }

  /** Takes an event in, some rows at a time: it yields in between, so that the page can draw and be used meanwhile. */
  *take(event) {
    const restarted = this.instance !== "" && this.instance !== event.instance;
    const first = this.instance === "";
    const seconds = first ? 1 : Math.max(1, Math.round((event.time_ms - this.timeMs) / 1000));
    const tick = this.tick + Math.min(seconds, 2 * WINDOW);
    if (restarted) {
      this.restartedMs = event.time_ms;
      this.rules.clear();
      this.callers.clear();
      this.total = countsOf();
    }
    const total = countsOf(event.total);
    if (first) {
      this.firstTick = tick;
      this.ring = new Ring(tick);
    }
    if (seconds > GAP_SECONDS) this.#skip(tick);
    if (!first) this.#add(this.ring, tick, total, this.total, seconds);
    this.total = total;
    for (let at = 0; at < event.rules.length; at++) {
      this.#takeRule(event.rules[at], tick, first, restarted, seconds);
      if (at % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) yield;
    }
    for (const row of event.counters) this.#takeCaller(`c${JSON.stringify([row.rule, row.entries, row.other])}`, row, tick, first);
    for (const row of event.requests) this.#takeCaller(`r${JSON.stringify([row.domain, row.key, row.value, row.other])}`, row, tick, first);
    this.#forget();
    [this.instance, this.startedMs, this.timeMs, this.tick] = [event.instance, event.started_ms, event.time_ms, tick];
    this.sequence = event.sequence;
    this.events++;
  }

  /** Adds what was counted since: the average of those seconds to each that is known. */
  #add(ring, tick, now, before, seconds, known = seconds > GAP_SECONDS ? 1 : seconds) {
    const denied = Math.max(0, now.denied - before.denied);
    const admitted = Math.max(0, now.requests - before.requests - denied);
    ring.put(tick, admitted / seconds, denied / seconds, known);
  }

  /** Marks the seconds since the last event as unknown. */
  #skip(tick) {
    this.ring.skip(tick);
    for (const rule of this.rules.values()) rule.ring?.skip(tick);
  }

  #takeRule(row, tick, first, restarted, seconds) {
    const known = this.rules.get(row.rule);
    const counts = countsOf(row);
    const rule = known ?? { domain: row.domain, rule: row.rule, counts: countsOf(), limits: [], ring: null };
    const changed = counts.requests !== rule.counts.requests;
    if (changed && !first && !restarted) {
      rule.ring ??= new Ring(this.firstTick);
      this.#add(rule.ring, tick, counts, rule.counts, seconds);
    }
    [rule.counts, rule.limits] = [counts, row.limits ?? []];
    if (!known) this.rules.set(row.rule, rule);
  }

  /** Callers are sent while they are at the top: what was counted while one was not is spread over that time. */
  #takeCaller(key, row, tick, first) {
    const known = this.callers.get(key);
    const counts = countsOf(row);
    const caller = known ?? { key, row, counts: countsOf(), minutes: null, seen: 0 };
    if (!first && counts.requests !== caller.counts.requests) {
      caller.minutes ??= new Ring(this.firstTick);
      const seconds = Math.max(1, tick - Math.max(caller.seen, this.firstTick));
      this.#add(caller.minutes, tick, counts, caller.counts, seconds, seconds);
    }
    [caller.row, caller.counts, caller.seen] = [row, counts, tick];
    // The most recently seen are at the end.
    this.callers.delete(key);
    this.callers.set(key, caller);
  }

  #forget() {
    for (const key of this.callers.keys()) {
      if (this.callers.size <= MAX_CALLERS) return;
      this.callers.delete(key);
    }
  }
}

/** The first `most` of some items by a number, the largest first. Cost: linear, and a little for each that is in the result. */
export function largest(items, most, number) {
  let found = [];
  let least = -Infinity;
  for (const item of items) {
    const value = number(item);
    if (found.length >= 2 * most && value <= least) continue;
    found.push({ item, value });
    if (found.length >= 4 * most) {
      found = first(found, most);
      least = found.at(-1).value;
    }
  }
  return first(found, most).map(({ item }) => item);
}

function first(found, most) {
  return found.sort((a, b) => b.value - a.value).slice(0, most);
}
