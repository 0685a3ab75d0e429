// The latest notifications of alerts, and the alerts that are in force.

import { explain, json, poll } from "./access.js";
import { byId, setText, showLines } from "./dom.js";
import { length, plain, relative, whole } from "./format.js";

const EVERY_MS = 3_000;
const ROWS = 6;

export function alerts(domain, usage) {
  const list = byId("alerts-list");
  const fail = (error) => showLines(list, [], explain(error));
  const show = (answer) => {
    const active = answer.notifications.filter((one) => one.time_ms + one.repeat_interval_ms > usage.timeMs);
    const shown = answer.notifications.slice(0, ROWS).map((one) => line(one, active.includes(one), usage.timeMs));
    const configured = answer.alerts.length;
    const nothing = configured > 0 ? `None of ${whole(configured)} has fired.` : "No alert is configured.";
    showLines(list, shown, nothing);
    setText(byId("alerts-note"), configured > 0 ? `${whole(configured)} in force, ${whole(active.length)} recent` : "");
  };
  return poll(EVERY_MS, () => json("/api/v1/alerts", { domain }), show, fail);
}

function line(one, active, now) {
  const about = one.value === null ? plain(one.rule ?? one.domain) : `${plain(one.key)}=${plain(one.value)}`;
  const denied = `${whole(one.denials)} denied within ${length(one.window_ms)}`;
  const more = one.suppressed > 0 ? `, ${whole(one.denials_since_last)} since the last one` : "";
  return {
    title: `${plain(one.alert)}: ${about}`,
    detail: `${denied}${more}, ${relative(one.time_ms, now)}`,
    mark: active ? "denied" : "past",
  };
}
