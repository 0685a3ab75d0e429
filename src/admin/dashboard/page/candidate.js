// The candidate: where a second configuration would decide otherwise.

import { explain, json, poll } from "./access.js";
import { byId, setText, Table } from "./dom.js";
import { count, percent, plain, whole } from "./format.js";

const EVERY_MS = 5_000;
const ROWS = 10;

export function candidate(domain) {
  const table = new Table(byId("candidate-table"), "Rules on which the candidate differs", [
    { title: "Rule", className: "name", text: (rule) => plain(rule.rule) + place(rule) },
    { title: "Checks", number: true, side: true, text: (rule) => count(Number(rule.checks)) },
    { title: "Denied now", number: true, text: (rule) => count(Number(rule.deniedInForce)) },
    { title: "By candidate", number: true, text: (rule) => count(Number(rule.deniedByCandidate)) },
    { title: "Differing", number: true, text: (rule) => count(Number(rule.onlyInForce) + Number(rule.onlyCandidate)) },
  ]);
  const fail = (error) => {
    setText(byId("candidate-state"), explain(error));
    setText(byId("candidate-note"), "");
    table.show([]);
  };
  const show = (answer) => {
    const running = answer.state === "RUNNING";
    setText(byId("candidate-note"), answer.state === "NONE" ? "none runs" : answer.state.toLowerCase());
    const checks = Number(answer.checks);
    const differing = Number(answer.differingChecks);
    const sum = checks > 0 ? `${whole(differing)} of ${whole(checks)} checks differ (${percent(differing / checks)}); ` : "";
    setText(byId("candidate-state"), sum + plain(answer.note));
    const own = answer.rules.filter((rule) => domain === "" || rule.rule === domain || rule.rule.startsWith(`${domain}.`));
    table.show(running ? own.slice(0, ROWS) : []);
  };
  return poll(EVERY_MS, () => json("/api/v1/candidate"), show, fail);
}

function place(rule) {
  if (rule.inForce && rule.inCandidate) return "";
  return rule.inForce ? " (not in the candidate)" : " (only in the candidate)";
}
