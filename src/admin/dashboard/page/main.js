// The page: asks for a token if one is needed, then follows the usage and shows it.

import { asksForToken, json, keep, poll, token, TokenNeeded } from "./access.js";
import { alerts } from "./alerts.js";
import { bans } from "./bans.js";
import { Callers } from "./callers.js";
import { candidate } from "./candidate.js";
import { showConfiguration } from "./configuration.js";
import { byId, element, setShown, setText } from "./dom.js";
import { clock, plain } from "./format.js";
import { History } from "./history.js";
import { Rules } from "./rules.js";
import { Usage } from "./series.js";
import { settings } from "./settings.js";
import { usageEvents } from "./stream.js";
import { Totals, uptime } from "./totals.js";

const STATUS_EVERY_MS = 3_000;
/** How long the page says that the server was restarted. */
const NOTICE_MS = 60_000;

const usage = new Usage();
const totals = new Totals();
const rules = new Rules(usage);
const callers = new Callers(usage);
const history = new History(usage);

/** What runs for the domain that is shown. */
let running = [];
let status = null;
let domain = "";
let drawing = false;
let wasLost = false;

/** Draws once before the next frame, however many events came. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (usage.events === 0) return;
    totals.show(usage, status?.process ?? null);
    rules.show();
    callers.show();
    showWhere();
    const main = byId("main");
    main.dataset.events = String(usage.events);
    main.dataset.timeMs = String(usage.timeMs);
  });
}

/** Lets the browser draw and answer to the keyboard. */
function nextTask() {
  return new Promise((resolve) => setTimeout(resolve));
}

function showWhere() {
  if (!status) return;
  const replicas = status.replicas > 1 ? `, one replica of ${status.replicas} (each shows its own usage)` : "";
  const shown = `${plain(status.host)}, version ${status.version}, up ${uptime(usage)}${replicas}`;
  setText(byId("where"), shown);
  const recent = usage.restartedMs > 0 && usage.timeMs - usage.restartedMs < NOTICE_MS;
  const notice = byId("notice");
  setShown(notice, recent);
  if (recent) setText(notice, `The server was restarted at ${clock(usage.startedMs)}. Its counts begin from zero.`);
}

function showState(state, why) {
  const pill = byId("connection");
  if (state === "lost") wasLost = true;
  if (state === "live" && wasLost) {
    wasLost = false;
    for (const part of running) part.again?.();
  }
  pill.dataset.state = state;
  const words = { waiting: "Connecting", live: "Live", lost: `Connection lost: ${why}. Trying again` };
  setText(pill, words[state]);
}

function stop() {
  for (const part of running) part.stop();
  running = [];
}

/** Follows one domain, or all that the caller may see. */
function follow(chosen) {
  stop();
  domain = chosen;
  usage.clear();
  const events = usageEvents(domain, {
    event: async (event, signal) => {
      for (const _part of usage.take(event)) {
        await nextTask();
        // Meanwhile another domain may have been chosen, to whose counts the rest of this event would be added.
        if (signal.aborted) return;
      }
      draw();
    },
    state: showState,
    token: askForToken,
  });
  const known = poll(STATUS_EVERY_MS, () => json("/api/v1/status"), showStatus, failed);
  running = [events, known, bans(domain, usage), alerts(domain, usage), settings(domain, usage), candidate(domain)];
  history.domain = domain;
  history.load();
}

function failed(error) {
  if (error instanceof TokenNeeded) askForToken(error);
}

function showStatus(shown) {
  status = shown;
  showConfiguration(shown);
  callers.offer((shown.domains ?? []).filter(({ name }) => domain === "" || name === domain).flatMap((one) => one.usage_by));
  offerDomains(shown);
  draw();
}

function offerDomains(shown) {
  const select = byId("domain");
  const own = shown.caller.domains;
  const names = own ?? (shown.domains ?? []).map(({ name }) => name);
  const values = own !== null ? names : ["", ...names];
  setShown(byId("domain-label"), values.length > 1);
  if (values.join("\n") === [...select.options].map(({ value }) => value).join("\n")) return;
  select.replaceChildren(...values.map((value) => element("option", { value }, value === "" ? "all" : plain(value))));
  select.value = values.includes(domain) ? domain : values[0] ?? "";
}

function askForToken(error) {
  stop();
  if (!byId("main").hidden) {
    // Nothing of what one token was shown stays in the page for the next one.
    location.reload();
    return;
  }
  setShown(byId("access"), true);
  setShown(byId("forget"), false);
  const pill = byId("connection");
  pill.dataset.state = "waiting";
  setText(pill, "Waiting for a token");
  setText(byId("token-error"), error && token() !== "" ? error.message : "");
  byId("token").focus();
}

/** Shows the page, if the status can be read. */
async function open() {
  let first = null;
  while (first === null) {
    try {
      first = await json("/api/v1/status");
    } catch (error) {
      if (error instanceof TokenNeeded) return askForToken(error);
      if (error.status !== undefined) {
        askForToken(error);
        setText(byId("token-error"), error.message);
        return;
      }
      showState("lost", "no connection to the server");
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
  setShown(byId("access"), false);
  setShown(byId("main"), true);
  setShown(byId("forget"), token() !== "");
  // A token with several domains sees one at a time.
  domain = first.caller.domains?.[0] ?? "";
  showStatus(first);
  follow(domain);
}

byId("domain").addEventListener("change", (event) => follow(event.target.value));
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(byId("token").value.trim());
  byId("token").value = "";
  open();
});
byId("forget").addEventListener("click", () => {
  keep("");
  askForToken();
});

if (asksForToken() && token() === "") {
  askForToken();
} else {
  open();
}
