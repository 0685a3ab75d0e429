//! For one load, all that shows usage agrees with what made the load: the page, `top`, `watch`, `usage` and the metrics.

use serde_json::Value;

use crate::TestServer;
use crate::bench;
use crate::looking::shown;
use crate::looking::usage::flushed;
use crate::page::webdriver::{Browser, Screen};
use crate::top::pane::{Pane, Size};
use crate::top::row;

/// The rule whose limit is never reached, and the one that denies everything.
const RULES: [&str; 2] = ["bench.k0", "bench.k0_over-limit"];

/// Checks, and how many of them were denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    checks: u64,
    denied: u64,
}

#[test]
fn the_page_top_watch_usage_and_metrics_agree_with_the_load_generator() {
    let Some(browser) = Browser::start("all_that_shows_usage_agrees", Screen::DESK) else { return };
    let Some(pane) = Pane::new(Size::LARGE) else { return };
    let rules = format!("{}usage: {{by: [k0]}}\n", bench::rules(&["--entries", "1"]));
    let server = TestServer::start(&rules, &["--history-flush", "100ms"]);
    browser.go(&server.admin, "/");
    browser.until_live();
    pane.top(&server.admin, &[]);
    let load = ["--entries", "1", "--rate", "2000", "--duration", "1s", "--over-limit", "0.3", "--keys", "50"];
    let (runs, warnings) = bench::runs(&server, &load);
    assert_eq!((runs.len(), warnings.as_str()), (1, ""));
    let number = |name: &str| bench::number(&runs[0], name);
    assert_eq!((number("errors"), number("ok") + number("over_limit")), (0, number("checks")));
    let admitted = Counts { checks: number("ok"), denied: 0 };
    // One check before all others asks whether the rules are there: it is denied if so.
    let denied = Counts { checks: number("over_limit") + 1, denied: number("over_limit") + 1 };
    let all = Counts { checks: admitted.checks + denied.checks, denied: denied.denied };
    assert!(admitted.checks > 1_000 && denied.checks > 200, "{all:?}");

    assert_eq!(RULES.map(|rule| in_metrics(&server, rule)), [admitted, denied], "/metrics");
    assert_eq!(watched(&server), ([admitted, denied], all), "watch");
    let history = flushed(&server, &[], all.checks);
    let line =
        |rule: &str, counts: Counts| format!("bench,{rule},{},{},{}", counts.checks, counts.denied, counts.checks);
    assert_eq!(history[1..], [line(RULES[0], admitted), line(RULES[1], denied)], "usage");
    let of_value = format!("k0,over-limit,false,{},{},{}", denied.checks, denied.denied, denied.checks);
    let by_value = flushed(&server, &["--by", "k0", "--limit", "100"], all.checks);
    assert!(by_value.contains(&of_value), "usage --by: {by_value:?}");

    let sums = [format!("checks {} (", grouped(all.checks)), format!("denied {} (", grouped(all.denied))];
    pane.until("the sums of all checks", |screen| sums.iter().all(|sum| screen.contains(sum)));
    // Totals in place of rates; the rules of the domain.
    pane.keys(&["t", "Enter"]);
    for (name, counts) in [("k0", admitted), ("k0_over-l...", denied)] {
        let cells = [grouped(counts.checks), "0".to_owned(), grouped(counts.denied)];
        pane.until(name, |screen| row(screen, name).get(2..5).is_some_and(|shown| shown == cells));
    }

    for (tile, count) in [("checks", all.checks), ("admitted", admitted.checks), ("denied", all.denied)] {
        let text = format!("{} since the start", grouped(count));
        browser.until(tile, &format!("document.querySelector('.tile.{tile} .detail').textContent === '{text}'"));
    }
    for (rule, counts) in [(RULES[0], admitted), (RULES[1], denied)] {
        let cells = format!(
            "[...document.querySelectorAll('button.rule')].find((button) => button.textContent === '{rule}')
               .closest('tr').cells[5].textContent === '{}'",
            grouped(counts.checks)
        );
        browser.until(rule, &cells);
    }
    assert_eq!(browser.errors(), [""; 0]);
}

fn in_metrics(server: &TestServer, rule: &str) -> Counts {
    let key = rule.trim_start_matches("bench.");
    let of = |name: &str| {
        let labels = format!("domain=\"bench\",rule=\"{rule}\",key1=\"{key}\"");
        server.metric(&format!("ratelimit_service_rate_limit_{name}{{{labels}}}"))
    };
    Counts { checks: of("total_hits"), denied: of("over_limit") }
}

/// What `watch` reports of the rules, and in all.
fn watched(server: &TestServer) -> ([Counts; 2], Counts) {
    let report: Value = serde_json::from_str(&shown(server, &["watch", "--once", "--json"])).unwrap();
    let number = |counts: &Value, name: &str| counts[name].as_str().map_or(0, |number| number.parse().unwrap());
    let counts =
        |counts: &Value| Counts { checks: number(counts, "numRequests"), denied: number(counts, "numRequestsDenied") };
    let of_rule = |rule: &str| {
        let rows = report["rules"].as_array().unwrap();
        let row = rows.iter().find(|row| row["rule"] == rule).unwrap_or_else(|| panic!("no {rule}: {report}"));
        counts(&row["counts"])
    };
    (RULES.map(of_rule), counts(&report["total"]))
}

/// A number with commas between thousands, as people read it.
fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}
