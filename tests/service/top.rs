//! `tidegate top` in a real terminal: keys are sent through tmux, and its screen is read back.
//!
//! `TMUX_BIN` names tmux (`./test` looks for one). Without it these tests say `SKIPPED` and pass.

pub(crate) mod pane;

use std::fmt::Write;

use tidegate::api::proto::tidegate::v1::WatchUsageRequest;

use crate::access::new_token;
use crate::observers::{next, watch};
use crate::server::{TestServer, http, run};
use pane::{Pane, Size};

const RULES: &str = "
domain: api
descriptors:
- {key: user, rate_limit: {period: 24h, requests_per_unit: 3, starts: first_request}}
- key: tenant
  descriptors:
  - {key: node, rate_limit: {period: 24h, requests_per_unit: 500, starts: first_request}}
- key: bucket
  rate_limit: {unit: year, requests_per_unit: 2, algorithm: token_bucket, burst: 1, queue: {size: 5, mode: advise}}
";

/// Sends checks of domain `api`: `user=ann`, or `tenant=a,node=b`. Returns how many were admitted.
fn check(server: &TestServer, entries: &str, times: usize) -> usize {
    let entries: Vec<_> = entries.split(',').map(|entry| entry.split_once('=').unwrap()).collect();
    let entries: Vec<_> =
        entries.iter().map(|(key, value)| format!(r#"{{"key": "{key}", "value": "{value}"}}"#)).collect();
    let body = format!(r#"{{"domain": "api", "descriptors": [{{"entries": [{}]}}]}}"#, entries.join(","));
    let answers = (0..times).map(|_| server.http("POST", "/json", body.as_bytes()).0);
    answers.filter(|status| *status == 200).count()
}

/// What every test of the numbers begins with: 5 checks of ann, 3 of bob, 4 of carol, 7 of nodes, 3 of a bucket.
fn workload() -> TestServer {
    let server = TestServer::start(RULES, &[]);
    assert_eq!(check(&server, "user=ann", 5), 3);
    assert_eq!(check(&server, "user=bob", 3), 3);
    assert_eq!(check(&server, "user=carol", 4), 3);
    assert_eq!(check(&server, "tenant=a,node=1", 4) + check(&server, "tenant=b,node=1", 3), 7);
    assert_eq!(check(&server, "bucket=x", 3), 3);
    server
}

/// The cells of the row that begins with a name, behind the sign of a selected one.
pub(crate) fn row(screen: &str, name: &str) -> Vec<String> {
    let cells = |line: &str| line.trim_start_matches(['>', ' ']).split_whitespace().map(str::to_owned).collect();
    let rows = screen.lines().skip(7).map(cells);
    rows.into_iter().find(|cells: &Vec<String>| cells.first().is_some_and(|first| first == name)).unwrap_or_default()
}

/// The names of the rows of the table, in their order.
fn names(screen: &str) -> Vec<&str> {
    let rows = screen.lines().skip(7).take_while(|line| line.starts_with("> ") || line.starts_with("  "));
    rows.filter_map(|line| line[2..].split_whitespace().next()).collect()
}

#[test]
fn the_numbers_are_those_of_a_known_workload_at_every_level() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let server = workload();
    pane.top(&server.admin, &[]);
    let sums = "checks 22 (0/s)  denied 3 (0/s, -)  delayed 2 (0/s)";
    let screen = pane.until("the sums of all checks", |screen| screen.contains(sums));
    assert_eq!(screen.lines().count(), 24, "{screen}");
    pane.until("what is known of counters", |screen| {
        screen.lines().nth(3).unwrap().starts_with("bans 0  over limit 3  waiting 2  fullest 100%")
    });
    assert_eq!(row(&pane.screen(), "api")[1..3], ["0", "0"], "rates");
    // Totals in place of rates; then the way down.
    pane.keys(&["t"]);
    let screen = pane.until("totals", |screen| row(screen, "api").get(1).is_some_and(|checks| checks == "22"));
    assert_eq!(row(&screen, "api")[1..3], ["22", "3"], "{screen}");
    pane.keys(&["Enter"]);
    let screen = pane.until("the rules", |screen| names(screen) == ["user", "tenant.node", "bucket"]);
    assert_eq!(row(&screen, "user")[1..4], ["3/1day", "12", "3"], "{screen}");
    assert_eq!(row(&screen, "tenant.node")[2..4], ["7", "0"], "{screen}");
    assert_eq!(row(&screen, "bucket")[2..4], ["3", "0"], "{screen}");
    pane.keys(&["Enter"]);
    let screen = pane.until("the values", |screen| names(screen) == ["user=ann", "user=carol", "user=bob"]);
    assert_eq!(row(&screen, "user=ann")[1..3], ["5", "2"], "{screen}");
    pane.until("the sums of the rule", |screen| screen.contains("checks 12 (") && screen.contains("denied 3 ("));
    pane.keys(&["Enter"]);
    pane.until("the counter of ann", |screen| {
        row(screen, "user=ann").starts_with(&["user=ann", "3", "3/1day"].map(str::to_owned))
    });
    pane.keys(&["Escape"]);
    pane.until("the values again", |screen| names(screen).len() == 3);
    pane.keys(&["Escape"]);
    pane.until("the rules again", |screen| names(screen).len() == 3 && screen.contains("> api  "));
    // A rule with two entries, grouped by either.
    pane.keys(&["Down", "Enter"]);
    pane.until("values of the first key", |screen| names(screen) == ["tenant=a", "tenant=b"]);
    pane.keys(&["e"]);
    let screen = pane.until("values of the second key", |screen| names(screen) == ["node=1"]);
    assert!(row(&screen, "node=1").contains(&"7".to_owned()), "{screen}");
    pane.keys(&["Enter"]);
    pane.until("both counters", |screen| {
        let used = |line: &str| line.contains("tenant=a node=1") && line.contains(" 4 ");
        screen.lines().any(used) && screen.contains("tenant=b node=1")
    });
}

#[test]
fn rows_are_filtered_and_sorted_and_a_pause_holds_them() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let server = workload();
    pane.top(&server.admin, &[]);
    pane.until("a report", |screen| screen.contains("checks 22"));
    pane.keys(&["2", "t"]);
    let by_checks = ["user=ann", "tenant=a", "user=carol", "bucket=x", "tenant=b", "user=bob"];
    pane.until("all keys", |screen| names(screen) == by_checks);
    pane.keys(&["s"]);
    let screen = pane.until("by denied", |screen| names(screen)[..2] == ["user=ann", "user=carol"]);
    assert!(screen.contains("sorted by denied"), "{screen}");
    pane.keys(&["S", "i"]);
    pane.until("the other way round", |screen| names(screen).iter().rev().eq(&by_checks));
    pane.keys(&["i", "/"]);
    pane.text("USER");
    let screen = pane.until("the users", |screen| names(screen) == ["user=ann", "user=carol", "user=bob"]);
    assert!(screen.contains("filter: USER_"), "{screen}");
    pane.keys(&["Enter"]);
    pane.until("the filter stays", |screen| screen.contains("filter USER") && !screen.contains("filter: "));
    pane.keys(&["Escape"]);
    pane.until("no filter", |screen| names(screen) == by_checks);

    pane.keys(&["p"]);
    let paused = pane.until("a pause", |screen| screen.contains("PAUSED"));
    check(&server, "user=dave", 2);
    four_reports(&server);
    assert_eq!(pane.screen(), paused);
    pane.keys(&["p"]);
    let screen = pane.until("the checks of the pause", |screen| screen.contains("checks 24"));
    assert!(names(&screen).contains(&"user=dave"), "{screen}");
}

/// Waits until the server has sent four reports to an observer with the interval of the view.
fn four_reports(server: &TestServer) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut reports = watch(server, WatchUsageRequest::default()).await;
        for _ in 0..4 {
            next(&mut reports).await;
        }
    });
}

#[test]
fn a_ban_is_set_and_lifted_after_a_question() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let server = TestServer::start(RULES, &[]);
    check(&server, "user=bob", 1);
    pane.top(&server.admin, &[]);
    pane.keys(&["2"]);
    pane.until("the key", |screen| names(screen) == ["user=bob"]);
    pane.keys(&["b"]);
    pane.until("for how long", |screen| screen.contains("for: 10m_"));
    pane.keys(&["Enter"]);
    let screen = pane.until("the question", |screen| screen.contains("Ban user=bob of rule api.user for 10m?"));
    for text in [
        "each check of this counter is denied for 10m",
        "tidegate counters ban --rule api.user --entry user=bob --for 10m",
    ] {
        assert!(screen.contains(text), "{screen}");
    }
    pane.keys(&["n"]);
    pane.until("nothing was changed", |screen| screen.contains("cancelled: nothing was changed"));
    assert_eq!(check(&server, "user=bob", 1), 1);
    pane.keys(&["b"]);
    pane.until("the form", |screen| screen.contains("for: 10m_"));
    pane.keys(&["Enter", "y"]);
    pane.until("the end of the ban", |screen| screen.contains("banned user=bob of rule api.user until 20"));
    assert_eq!(check(&server, "user=bob", 1), 0, "the next check is denied");
    pane.until("the ban is counted", |screen| screen.contains("bans 1  over limit 0"));
    pane.keys(&["3"]);
    pane.until("the page of bans", |screen| row(screen, "user=bob").contains(&"banned".to_owned()));
    pane.keys(&["u"]);
    pane.until("the question", |screen| {
        screen.contains("Lift the ban of the counters of rule api.user with user=bob?")
    });
    pane.keys(&["y"]);
    pane.until("it is lifted", |screen| screen.contains("lifted the ban of 1 counter of rule api.user"));
    assert_eq!(check(&server, "user=bob", 3), 3, "it is fresh");
    let (status, audit, error) = run(&["audit", "--admin-addr", &server.admin], "");
    assert_eq!(status, Some(0), "{error}");
    assert!(audit.contains("tidegate top") && audit.contains("ban"), "{audit}");
}

#[test]
fn limits_change_by_settings_and_counters_are_reset() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let server = TestServer::start(RULES, &[]);
    assert_eq!(check(&server, "user=bob", 4), 3);
    pane.top(&server.admin, &[]);
    pane.until("the domain", |screen| names(screen) == ["api"]);
    pane.keys(&["Enter", "/"]);
    pane.text("user");
    pane.keys(&["Enter"]);
    pane.until("the rule", |screen| names(screen) == ["user"] && !screen.contains("filter: "));
    pane.keys(&["c"]);
    pane.until("the form", |screen| screen.contains("requests_per_unit: _"));
    pane.text("5");
    pane.keys(&["Enter"]);
    let screen = pane.until("the question", |screen| screen.contains("Set requests_per_unit of rule api.user to 5?"));
    assert!(screen.contains("now: 3/1day."), "{screen}");
    pane.keys(&["y"]);
    pane.until("the new limit", |screen| {
        let has_limit = row(screen, "user").starts_with(&["user", "5/1day"].map(str::to_owned));
        has_limit && screen.contains("set requests_per_unit of rule api.user to 5 (was 3)")
    });
    assert_eq!(check(&server, "user=bob", 4), 2);
    pane.keys(&["o"]);
    pane.until("the form", |screen| screen.contains("Switch off"));
    pane.keys(&["Enter", "y"]);
    pane.until("it is off", |screen| {
        row(screen, "user").contains(&"off".to_owned()) && screen.contains("set enabled of rule api.user to false")
    });
    assert_eq!(check(&server, "user=bob", 4), 4);
    pane.keys(&["x"]);
    pane.until("the form", |screen| screen.contains("name: enabled_"));
    pane.keys(&["Enter", "y"]);
    pane.until("it is on", |screen| {
        screen.contains("removed the setting enabled") && !row(screen, "user").contains(&"off".to_owned())
    });
    assert_eq!(check(&server, "user=bob", 1), 0);
    pane.keys(&["r"]);
    pane.until("the question", |screen| screen.contains("Reset all counters of rule api.user?"));
    pane.keys(&["y"]);
    pane.until("the counters are fresh", |screen| screen.contains("reset 1 counter of rule api.user"));
    assert_eq!(check(&server, "user=bob", 6), 5);
}

#[test]
fn an_observer_sees_usage_and_changes_nothing() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let (token, line) = new_token("watcher", "observer", "");
    let tokens = pane.file("tokens.yaml", &format!("tokens:\n{line}\n"));
    let token = pane.file("token", &token);
    let server = TestServer::start(RULES, &["--admin-tokens", &tokens]);
    check(&server, "user=ann", 2);
    pane.top(&server.admin, &["--token-file", &token]);
    pane.until("usage", |screen| screen.contains("checks 2 ("));
    let why = "the token's role does not allow this: operator is needed";
    pane.until("why there are no bans", |screen| screen.contains(&format!("no counters: {why}")));
    pane.keys(&["2"]);
    pane.until("the key", |screen| names(screen) == ["user=ann"]);
    pane.keys(&["b"]);
    pane.until("the form", |screen| screen.contains("for: 10m_"));
    pane.keys(&["Enter", "y"]);
    pane.until("the answer", |screen| screen.contains(&format!("error: not done: {why}")));
    assert_eq!(check(&server, "user=ann", 1), 1, "nobody is banned");
}

#[test]
fn denied_checks_come_as_they_happen() {
    let Some(pane) = Pane::new(Size::LARGE) else { return };
    let server = TestServer::start(RULES, &[]);
    check(&server, "user=ann", 3);
    pane.top(&server.admin, &[]);
    pane.keys(&["4"]);
    pane.until("an empty page", |screen| screen.contains("no check was denied since this page was opened"));
    // The stream begins a moment after its page.
    let denied = pane.until("a denied check", |screen| {
        check(&server, "user=ann", 1);
        screen.contains("over limit")
            && screen.lines().any(|line| line.contains("user=ann") && line.contains("api.user"))
    });
    assert_eq!(denied.lines().count(), 40, "{denied}");
    pane.keys(&["Enter"]);
    pane.until("the rule of the denied check", |screen| screen.contains("all domains > api > api.user"));
}

#[test]
fn a_server_that_starts_again_is_seen_to() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    // A socket is at the same place after a restart.
    let admin = format!("unix:{}", pane.path("admin"));
    let mut server = TestServer::start(RULES, &["--admin-addr", &admin]);
    check(&server, "user=ann", 3);
    pane.top(&admin, &[]);
    pane.until("the checks", |screen| screen.contains("checks 3 (") && screen.contains("live"));
    server.crash();
    let lost =
        pane.until("a word about it", |screen| screen.contains("NO CONNECTION") && screen.contains("trying again"));
    assert!(lost.contains("checks 3 ("), "the last numbers stay: {lost}");
    server.restart();
    let again = pane.until("the new server", |screen| screen.contains("live") && screen.contains("checks 0 ("));
    assert!(again.contains("STARTED AGAIN") && again.contains("its counts begin at 0"), "{again}");
    check(&server, "user=ann", 2);
    pane.until("its checks", |screen| screen.contains("checks 2 ("));
}

#[test]
fn the_terminal_is_as_it_was_however_the_view_ends() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let server = TestServer::start(RULES, &[]);
    for (end, status) in [("q", 0), ("C-c", 0), ("TERM", 143), ("HUP", 129), ("INT", 130)] {
        pane.top(&server.admin, &[]);
        pane.until("the view", |screen| screen.contains("live") && screen.contains("checks 0"));
        assert!(pane.is_alternate(), "the view has a screen of its own");
        if end.len() == 1 || end.starts_with("C-") {
            pane.keys(&[end]);
        } else {
            pane.signal(end);
        }
        pane.until("the shell", |screen| screen.contains(&format!("status={status}")));
        assert!(!pane.is_alternate(), "{end}");
        let modes = pane.modes();
        assert!(modes.contains(" icanon") && modes.contains(" echo ") && modes.contains(" isig"), "{end}: {modes}");
        pane.clear();
    }
    // An error is a line of the shell's screen.
    server.signal("TERM");
    pane.top("127.0.0.1:1", &[]);
    let screen = pane.until("the error", |screen| screen.contains("status=2"));
    assert!(screen.contains("error: 127.0.0.1:1: cannot connect") && !pane.is_alternate(), "{screen}");
}

#[test]
fn the_keys_are_explained_and_nothing_needs_a_colour() {
    let Some(pane) = Pane::new(Size::SMALLEST) else { return };
    let server = workload();
    pane.variable("NO_COLOR", "1");
    pane.top(&server.admin, &[]);
    pane.until("the sums", |screen| screen.contains("checks 22"));
    pane.keys(&["?"]);
    let help = pane.until("the explanation", |screen| screen.contains("Any key closes this."));
    for text in ["pause", "ban a counter", "switch off or on", "quit"] {
        assert!(help.contains(text), "{help}");
    }
    pane.keys(&["x"]);
    pane.until("the view", |screen| !screen.contains("Any key closes this."));
    let coloured = pane.colours();
    assert_eq!(coloured, Vec::<String>::new());
}

#[test]
fn what_is_no_terminal_is_an_error() {
    let server = TestServer::start(RULES, &[]);
    let (status, out, error) = run(&["top", "--admin-addr", &server.admin], "");
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert_eq!(error, "error: standard output is not a terminal, which top draws on\n");
    let (status, _, error) = run(&["top", "--json"], "");
    assert_eq!(status, Some(2));
    assert!(error.starts_with("error: --json: top draws on a terminal"), "{error}");
    assert_eq!(http(&server.admin, "GET", "/livez", b"").0, 200);
}

/// More keys than the view keeps: its memory has a bound, and its sums are right.
#[test]
fn a_server_with_many_keys_is_shown_in_bounded_memory() {
    let Some(pane) = Pane::new(Size::LARGE) else { return };
    let server = TestServer::start(RULES, &[]);
    let mut body = String::new();
    for descriptors in 0..5 {
        body.clear();
        body.push_str(r#"{"domain": "api", "descriptors": ["#);
        for n in 0..1_000 {
            let comma = if n == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"entries": [{{"key": "user", "value": "u{descriptors}-{n}"}}]}}"#).unwrap();
        }
        body.push_str("]}");
        assert_eq!(server.http("POST", "/json", body.as_bytes()).0, 200);
    }
    pane.top(&server.admin, &[]);
    pane.until("all checks", |screen| screen.contains("checks 5,000 ("));
    pane.keys(&["2"]);
    // The screen may be seen while it is painted.
    let screen = pane.until("the first keys", |screen| screen.contains("1000 rows") && names(screen).len() >= 29);
    assert_eq!(names(&screen).len(), 29, "{screen}");
    pane.keys(&["End"]);
    pane.until("the last of them", |screen| screen.lines().any(|line| line.starts_with("> user=u")));
}
