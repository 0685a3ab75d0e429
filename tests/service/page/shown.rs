//! What the page shows: a burst of denials, a restart, hostile values, and the rest of what happens on a server.

use serde_json::Value;

use super::webdriver::{Browser, Screen};
use super::{Events, check, number, operate};
use crate::TestServer;
use crate::server::{THREE_A_MINUTE, eventually, http, next_minute_if_late};

/// The first report that is read after a burst, which comes within a second, shows all of it.
#[test]
fn a_burst_of_denials_is_shown_with_the_first_report_after_it() {
    let Some(browser) = Browser::start("a_burst_of_denials", Screen::DESK) else { return };
    next_minute_if_late();
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    browser.go(&server.admin, "/");
    browser.until_live();
    // Each report that the page has drawn: when the server read it, and the denied checks on the tile.
    browser.run(
        "window.drawn = []; const main = document.getElementById('main');
         new MutationObserver(() => drawn.push([Number(main.dataset.timeMs),
           document.querySelector('.tile.denied .value').nextSibling.textContent])).observe(main, {attributes: true});",
    );
    let denied = (0..40).filter(|_| !check(&server, "api", "key", "mallory")).count();
    assert_eq!(denied, 37);
    let after = Events::open(&server, "", "").next().unwrap();
    let after_ms = number(&after["time_ms"]);
    browser.until("a report after the burst", &format!("drawn.some(([timeMs]) => timeMs > {after_ms})"));
    let drawn = browser.value("drawn");
    let reports: Vec<(u64, &str)> =
        drawn.as_array().unwrap().iter().map(|row| (number(&row[0]), row[1].as_str().unwrap())).collect();
    let (shown_ms, text) = reports.iter().find(|(time_ms, _)| *time_ms > after_ms).unwrap();
    assert_eq!(*text, "37 since the start", "the first report after the burst: {reports:?}");
    eprintln!("shown by a report {} ms after the end of the burst", shown_ms - after_ms);
    assert!(browser.text("rules-table").contains("api.key"), "{}", browser.text("rules-table"));
    assert!(browser.text("denied").contains("key=mallory"), "{}", browser.text("denied"));
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn a_restart_is_survived() {
    let Some(browser) = Browser::start("a_restart_is_survived", Screen::DESK) else { return };
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let address = server.admin.clone();
    check(&server, "api", "key", "a");
    browser.go(&address, "/");
    browser.until_live();
    browser.until("the check", "document.querySelector('.tile.checks .detail').textContent === '1 since the start'");
    drop(server);
    browser.until("that it is gone", "document.getElementById('connection').textContent.startsWith('Connection lost')");
    let server = TestServer::start(THREE_A_MINUTE, &["--admin-addr", &address]);
    check(&server, "api", "key", "a");
    check(&server, "api", "key", "a");
    browser.until("that it is back", "document.getElementById('connection').textContent === 'Live'");
    browser.until(
        "the counts of the new process",
        "document.querySelector('.tile.checks .detail').textContent === '2 since the start'",
    );
    assert!(browser.text("notice").contains("The server was restarted"), "{}", browser.text("notice"));
    assert_eq!(browser.errors(), [""; 0]);
}

const HOSTILE: [&str; 5] = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\"><svg onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "\u{202e}desrever",
];

#[test]
fn hostile_values_stay_text() {
    let Some(browser) = Browser::start("hostile_values_stay_text", Screen::DESK) else { return };
    let rules = "domain: <b>api</b>
descriptors:
- {key: <i>key</i>, rate_limit: {unit: hour, requests_per_unit: 1, ban: {for: 1h, when: exceeded}}}
alerts: [{name: '<u>alert</u>', per: {entry: <i>key</i>}, denials: 1, window: 1h}]
usage: {by: ['<i>key</i>']}
";
    let server = TestServer::start(rules, &[]);
    for value in HOSTILE {
        for _ in 0..2 {
            check(&server, "<b>api</b>", "<i>key</i>", value);
        }
    }
    let entry = format!("<i>key</i>={}", HOSTILE[1]);
    let limit = ["--rule", "<b>api</b>.<i>key</i>", "--entry", &entry, "requests_per_unit", "7"];
    operate(&server, &[&["settings", "set"], &limit[..], &["--reason", HOSTILE[0]]].concat());
    std::fs::write(server.dir.path().join("rules.yaml"), "domain: <script>window.hacked=1</script>\ndescriptors: 7\n")
        .unwrap();
    server.signal("HUP");
    browser.go(&server.admin, "/");
    browser.until_live();
    for (id, text) in [
        ("denied", HOSTILE[0]),
        ("busiest", HOSTILE[1]),
        ("rules-table", "<b>api</b>.<i>key</i>"),
        ("bans-list", HOSTILE[2]),
        ("alerts-list", "<u>alert</u>"),
        ("settings-table", HOSTILE[1]),
        ("configuration-errors", "cannot unmarshal"),
        ("busiest", "\\u{202e}desrever"),
    ] {
        let text = serde_json::to_string(text).unwrap();
        browser
            .until(&format!("{text} in {id}"), &format!("document.getElementById('{id}').innerText.includes({text})"));
    }
    // The values of the key, and the large chart of the rule.
    browser.run(
        "const by = document.getElementById('callers-by'); by.selectedIndex = 1; by.dispatchEvent(new Event('change'));
                 document.querySelector('button.rule').click();",
    );
    browser.until("the rule's name", "document.getElementById('rates-subject').innerText.includes('<b>api</b>')");
    browser.until("values", "document.getElementById('busiest').innerText.includes('<script>')");
    assert_eq!(browser.value("window.hacked === undefined"), Value::Bool(true), "a value was executed");
    let made = "document.querySelectorAll('main script, main img, main svg, main b, main i, main u, main [onerror], main [style]').length";
    assert_eq!(browser.value(made), Value::from(0), "a value became an element");
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn settings_candidates_and_history_are_shown() {
    let Some(browser) = Browser::start("settings_candidates_and_history_are_shown", Screen::DESK) else { return };
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    operate(&server, &["settings", "set", "--rule", "api.key", "requests_per_unit", "5", "--reason", "a busy day"]);
    let candidate = server.dir.path().join("candidate.yaml");
    std::fs::write(&candidate, THREE_A_MINUTE.replace("requests_per_unit: 3", "requests_per_unit: 1")).unwrap();
    operate(&server, &["candidate", "start", candidate.to_str().unwrap()]);
    for _ in 0..4 {
        check(&server, "api", "key", "a");
    }
    eventually("the history", || http(&server.admin, "GET", "/api/v1/usage?group_by=rule", b"").1.contains("api.key"));
    browser.go(&server.admin, "/");
    browser.until_live();
    browser.until("the setting", "document.getElementById('settings-table').innerText.includes('a busy day')");
    browser.until("its limit", "document.getElementById('rules-table').innerText.includes('5 per minute (setting)')");
    browser.until("the candidate", "document.getElementById('candidate-state').innerText.includes('checks differ')");
    browser.until("the history", "document.getElementById('history-table').innerText.includes('api.key')");
    assert!(!browser.text("history-note").contains("in memory"), "{}", browser.text("history-note"));
    // A range of dates that has nothing, and one that is empty.
    browser.run(
        "document.querySelector('input[value=dates]').click();
         document.getElementById('history-from').value = '2020-01-01T00:00';
         document.getElementById('history-to').value = '2020-01-02T00:00';
         document.getElementById('history-range').requestSubmit();",
    );
    browser.until("nothing", "document.getElementById('history-table').innerText.includes('Nothing was counted')");
    browser.run("document.getElementById('history-to').value = '2019-01-01T00:00'; document.getElementById('history-range').requestSubmit();");
    browser.until("the error", "document.getElementById('history-note').innerText.includes('empty')");
    let in_memory = TestServer::start(THREE_A_MINUTE, &[]);
    browser.go(&in_memory.admin, "/");
    browser.until("the hint", "document.getElementById('history-note').innerText.includes('in memory only')");
    assert_eq!(browser.errors(), [""; 0]);
}
