// The settings that operators have put over the rules.

import { explain, json, poll } from "./access.js";
import { byId, setText, Table } from "./dom.js";
import { entries, plain, relative, whole } from "./format.js";

const EVERY_MS = 5_000;
const ROWS = 50;

export function settings(domain, usage) {
  const table = new Table(byId("settings-table"), "Settings in force", [
    { title: "Applies to", className: "name", text: ({ scope }) => applies(scope) },
    { title: "Value", text: (setting) => `${plain(setting.name)} = ${plain(setting.value)}` },
    { title: "Until", side: true, text: ({ until }) => (until ? relative(Date.parse(until), usage.timeMs) : "it is unset") },
    { title: "By", side: true, text: by },
  ]);
  const fail = (error) => table.show([], explain(error));
  const show = (answer) => {
    table.show(answer.settings.slice(0, ROWS), "Nothing is set: the configuration is in force as it is.");
    const number = answer.settings.length;
    const notes = [
      number > ROWS ? `the first ${ROWS} of ${whole(number)}` : "",
      answer.readOnly ? "read-only" : "",
      shared(answer.shared),
    ];
    setText(byId("settings-note"), notes.filter((note) => note !== "").join(", "));
  };
  return poll(EVERY_MS, () => json("/api/v1/settings", { domain }), show, fail);
}

/** How settings are shared with other replicas. */
function shared(changes) {
  if (!changes) return "";
  if (!changes.synchronizedAt) return "not shared yet: the store does not answer";
  return Number(changes.pending ?? 0) > 0 ? "some are not shared yet" : "shared with all replicas";
}

function applies(scope) {
  const where = scope?.rule ? plain(scope.rule) : scope?.domain ? `domain ${plain(scope.domain)}` : "everything";
  const limit = scope?.limit > 0 ? ` limit ${scope.limit}` : "";
  const pairs = (scope?.entries ?? []).map(({ key, value }) => [key, value]);
  return pairs.length > 0 ? `${where}${limit} for ${entries(pairs)}` : `${where}${limit}`;
}

function by(setting) {
  const notes = [plain(setting.principal), plain(setting.reason), setting.inactive ? `no effect: ${plain(setting.inactive)}` : ""];
  return notes.filter((note) => note !== "").join(": ");
}
