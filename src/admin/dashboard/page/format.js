// Numbers, lengths of time and names as text.

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A whole number with separators: 1,234,567. */
export function whole(count) {
  return WHOLE.format(Math.round(count));
}

/** A count that fits a narrow column: exact below 100,000, else 1.23M. */
export function count(value) {
  return value < 100_000 ? whole(value) : SHORT.format(value);
}

/** A rate per second: 0, 0.4, 12, 3,456. */
export function rate(value) {
  if (!Number.isFinite(value) || value <= 0) return "0";
  if (value < 0.05) return "<0.1";
  return value < 10 ? String(Math.round(value * 10) / 10) : count(Math.round(value));
}

/** A share from 0 to 1. */
export function percent(share) {
  if (!Number.isFinite(share) || share <= 0) return "0%";
  if (share < 0.001) return "<0.1%";
  const shown = share * 100;
  return `${shown < 10 ? Math.round(shown * 10) / 10 : Math.round(shown)}%`;
}

/** A length of time in its two largest units: 1 h 5 min. */
export function length(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  let seconds = Math.round(ms / 1000);
  const parts = [];
  for (const [unit, size] of [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]]) {
    if (seconds >= size && parts.length < 2) {
      parts.push(`${Math.floor(seconds / size)} ${unit}`);
      seconds %= size;
    }
  }
  return parts.join(" ");
}

/** The length of a window as in "10 per second", "500 per 15 min". */
export function period(ms) {
  const units = new Map([[1_000, "second"], [60_000, "minute"], [3_600_000, "hour"], [86_400_000, "day"], [604_800_000, "week"]]);
  return units.get(ms) ?? length(ms);
}

const two = (part) => String(part).padStart(2, "0");

/** The time of day: 15:04:05. */
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The day and the time: 2026-11-27 15:04. */
export function instant(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** How far an instant is away: in 5 min, 3 s ago. */
export function relative(ms, now) {
  return ms > now ? `in ${length(ms - now)}` : `${length(Math.max(0, now - ms))} ago`;
}

/** Limits of a rule in a few words. */
export function limits(rows) {
  if (!rows || rows.length === 0) return "unlimited";
  return rows.map((limit) => {
    const notes = [limit.enabled ? "" : "off", limit.shadow_mode ? "shadow mode" : "", limit.set ? "setting" : ""];
    const shown = notes.filter((note) => note !== "");
    const per = limit.calendar ? plain(limit.calendar) : period(limit.period_ms);
    const words = `${whole(limit.requests_per_unit)} per ${per}`;
    return shown.length > 0 ? `${words} (${shown.join(", ")})` : words;
  }).join(", ");
}

/** Entries as KEY=VALUE. Text from clients: characters that act on the display are shown by their number. */
export function entries(pairs) {
  return pairs.map(([key, value]) => `${plain(key)}=${plain(value)}`).join("  ");
}

/** Text from clients without control characters and marks that turn its direction. */
export function plain(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (mark) => `\\u{${mark.charCodeAt(0).toString(16)}}`);
}
