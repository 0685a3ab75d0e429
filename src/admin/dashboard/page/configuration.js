// Which configuration is in force, how the last reload went, and what is lifted.

import { byId, setShown, setText, showLines } from "./dom.js";
import { plain, whole } from "./format.js";

export function showConfiguration(status) {
  const { configuration, process } = status;
  const failed = configuration.last_reload_failed;
  setText(byId("configuration-note"), `version ${whole(configuration.generation)}`);
  const rules = configuration.rules === null ? "No rules are in force." : `${whole(configuration.rules)} rules are in force`;
  const domains = status.domains ? ` in ${whole(status.domains.length)} domain${status.domains.length === 1 ? "" : "s"}.` : "";
  const loads = process ? ` Loads: ${whole(process.loads)} succeeded, ${whole(process.loads_failed)} failed.` : "";
  setText(byId("configuration-state"), rules + domains + loads);
  const errors = configuration.last_errors ?? (failed ? ["The last reload failed; its errors may name other domains."] : []);
  const list = byId("configuration-errors");
  setShown(list, failed);
  const title = { title: "The last reload failed; the configuration before it is in force.", mark: "denied" };
  showLines(list, failed ? [title, ...errors.map((error) => ({ title: plain(error), mark: "error" }))] : [], "");
  const lifted = status.lifted.map((line) => ({ title: `Limits are lifted: ${plain(line)}`, mark: "queued" }));
  if (status.shadow_mode) lifted.unshift({ title: "The process is in shadow mode: nothing is denied.", mark: "queued" });
  const failure = process?.history_failure;
  if (failure) lifted.push({ title: `The history cannot be written: ${plain(failure)}`, mark: "denied" });
  showLines(byId("configuration-lifted"), lifted, "No limit is lifted.");
}
