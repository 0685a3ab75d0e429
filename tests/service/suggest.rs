//! `tidegate suggest`: the numbers, checked by replaying the same traffic.

use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::record::{Recording, replay};
use crate::server::{TestServer, eventually, next_minute_if_late, rules_in, run};

const SHARES: [(&str, f64); 3] = [("0%", 0.0), ("0.1%", 0.001), ("1%", 0.01)];

/// A trace of 4,000 checks of 20 users in ten minutes, in bursts.
fn trace(path: &Path, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut at: Vec<u64> = Vec::new();
    for _ in 0..4_000 {
        let burst = at.last().copied().filter(|_| random.random_bool(0.9));
        at.push(match burst {
            Some(near) => near + random.random_range(0..200),
            None => random.random_range(0..600_000),
        });
    }
    at.sort_unstable();
    let lines = at.into_iter().map(|ms| {
        let user = format!("user-{}", random.random_range(0_u32..20).pow(2) / 20);
        json!({"at": format!("{}.{:03}", 1_700_000_000 + ms / 1_000, ms % 1_000), "domain": "api",
            "descriptors": [{"entries": [["user", user], ["path", "/x"]]}]})
    });
    fs::write(path, lines.map(|line| line.to_string() + "\n").collect::<String>()).unwrap();
}

fn rules(limit: &str) -> String {
    format!("domain: api\ndescriptors:\n- key: user\n  descriptors:\n  - {{key: path, rate_limit: {{{limit}}}}}\n")
}

/// The share of checks that these rules deny.
fn denied(dir: &tempfile::TempDir, rules: &str, trace: &Path) -> f64 {
    let decisions = replay(&rules_in(dir, rules), trace);
    let denied = decisions.iter().filter(|line| line.contains("\"code\":\"OVER_LIMIT\",\"delay_ms\"")).count();
    #[allow(clippy::cast_precision_loss)]
    let share = denied as f64 / decisions.len() as f64;
    share
}

/// Runs `suggest`, and returns the rules, which `check` accepts.
#[track_caller]
fn suggested(dir: &tempfile::TempDir, flags: &[&str]) -> String {
    let (code, out, error) = run(&[&["suggest"], flags].concat(), "");
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = run(&["check", "--strict", &rules_in(dir, &out)], "");
    assert_eq!(code, Some(0), "{error}\n{out}");
    out
}

#[test]
fn numbers_from_a_trace_deny_at_most_the_share_and_one_less_denies_more() {
    let seed: u64 = rand::random();
    let dir = tempfile::tempdir().unwrap();
    let trace_file = dir.path().join("trace.jsonl");
    trace(&trace_file, seed);
    let limits = [
        "unit: minute, requests_per_unit: 3",
        "period: 30s, requests_per_unit: 3, starts: first_request",
        "period: 10s, requests_per_unit: 3, algorithm: sliding_window",
        "unit: second, requests_per_unit: 3, algorithm: sliding_log",
        "unit: minute, requests_per_unit: 3, algorithm: token_bucket",
        "unit: second, requests_per_unit: 3, algorithm: token_bucket, burst: 40, queue: {size: 5, mode: advise}",
        "unit: minute, requests_per_unit: 3, ban: {for: 5s, when: exceeded}",
    ];
    for limit in limits {
        for (share, most) in SHARES {
            let config = rules_in(&dir, &rules(limit));
            let flags = [&config, "--trace", trace_file.to_str().unwrap(), "--deny", share];
            let text = suggested(&dir, &flags);
            let line = text.lines().find(|line| line.contains("rate_limit:")).unwrap();
            let number: u32 =
                line.split("requests_per_unit: ").nth(1).unwrap().split([',', '}']).next().unwrap().parse().unwrap();
            let found = denied(&dir, &text, &trace_file);
            assert!(found <= most, "seed {seed}: {found} with {line}");
            assert_ne!(number, 0, "seed {seed}: {line}");
            let less =
                text.replace(&format!("requests_per_unit: {number}"), &format!("requests_per_unit: {}", number - 1));
            let found = denied(&dir, &less, &trace_file);
            assert!(found > most, "seed {seed}: {found} with one less than {line}");
        }
    }
}

#[test]
fn the_file_keeps_what_decides_and_says_what_it_is_based_on() {
    let config = "domain: api
charge: all_or_nothing
descriptors:
- key: user
  shadow_mode: true
  rate_limits:
  - {name: short, unit: second, requests_per_unit: 10, algorithm: token_bucket}
  - {name: daily, unit: day, requests_per_unit: 1000}
- {key: user, value: \"it's: free\"}
- {key: path, value: /pay/*, share_threshold: true, rate_limit: {unit: minute, requests_per_unit: 3, replaces: [{name: daily}]}}
- {key: idle, rate_limit: {unit: hour, requests_per_unit: 9, enabled: false}}
- {key: open, rate_limit: {unlimited: true}}
";
    let dir = tempfile::tempdir().unwrap();
    let trace_file = dir.path().join("trace.jsonl");
    let line = |at: u32, entries: Value| {
        json!({"at": at, "domain": "api", "descriptors": [{"entries": entries}]}).to_string() + "\n"
    };
    let user = |at| line(at, json!([["user", "ann"]]));
    let note = json!({"recording": {"began": "x", "one_in": 10, "lost": 3}}).to_string() + "\n";
    let open = line(6, json!([["open", "x"]]));
    let text = note + &user(1).repeat(4) + &user(2) + &line(3, json!([["path", "/pay/1"]])).repeat(2) + &open;
    fs::write(&trace_file, text).unwrap();
    let text = suggested(&dir, &[&rules_in(&dir, config), "--trace", trace_file.to_str().unwrap()]);
    for expected in [
        "# 8 checks from 1970-01-01T00:00:01Z to 1970-01-01T00:00:06Z (5s)",
        "# warning: the trace has one check in 10: all numbers are too low by that; record with --sample-by to keep counters whole",
        "# warning: 3 checks of the recording were lost: the numbers may be too low",
        "# replayed with all of these limits: 0 of 8 checks denied",
        "domain: \"api\"\ncharge: all_or_nothing\ndescriptors:\n- key: \"user\"\n  shadow_mode: true\n",
        "  # limit 1, on its own:\n  # 5 requests of 1 counter; now 10 per second",
        "  # most hits of one counter in one 1s: 4 (user=ann); of 99 % of the counters 4, of 95 % 4, of half 4",
        "  # most hits of one counter in one 1day: 5 (user=ann)",
        "  # warning: only 5 requests: 0.1 % of them is less than one, so it is the same as 0 %",
        "  - {name: \"daily\", unit: day, requests_per_unit: 5}",
        "- key: \"user\"\n  value: \"it's: free\"\n- key: \"path\"\n  value: \"/pay/*\"\n  share_threshold: true\n",
        "  rate_limit: {unit: minute, requests_per_unit: 2, replaces: [{name: \"daily\"}]}",
        "  # no requests: the limit is as it was\n  rate_limit: {unit: hour, requests_per_unit: 9, enabled: false}",
        "  # the rule is unlimited: the numbers are those of a limit per minute\n",
        "  rate_limit: {unlimited: true}",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    let config = rules_in(&dir, config);
    let (code, out, error) = run(&["suggest", &config, "--trace", trace_file.to_str().unwrap(), "--json"], "");
    let out: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
    assert_eq!(code, Some(0));
    assert_eq!(out["limits"][1]["suggested"]["0 %"], json!({"least": 5, "most": 5}));
    assert_eq!(out["limits"][2]["rule"], "api.path_/pay/*");
}

#[test]
fn what_cannot_be_suggested_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, &rules("unit: minute, requests_per_unit: 3"));
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, bad) = (file("empty.jsonl", ""), file("bad.jsonl", "{}\n"));
    let nowhere = dir.path().to_str().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&[&config, "--trace", &empty], "there are no requests that match a rule"),
        (&[&config, "--trace", &empty, "--domain", "other"], "there are no requests of domain other"),
        (&[&config, "--trace", &bad], "bad.jsonl: line 1: is not a check"),
        (&[&config, "--trace", "/nonexistent"], "--trace /nonexistent: "),
        (&["/nonexistent", "--trace", &empty], "/nonexistent"),
        (&["--data-dir", nowhere], "there is no history in it"),
        (&["--admin-addr", "http://127.0.0.1:1"], "cannot connect"),
    ];
    for (flags, expected) in cases {
        let (code, out, error) = run(&[&["suggest"], flags].concat(), "");
        assert!(code == Some(2) && error.contains(expected), "{flags:?}: {code:?} {out}{error}");
    }
}

/// Limits from sums per minute are certain: the same traffic, recorded meanwhile, is denied no more than that.
#[test]
fn numbers_from_a_history_deny_at_most_the_share() {
    let limits = [
        ("unit: minute, requests_per_unit: 10000", "denied at most 0 %: 40; 0.1 %: 40; 1 %: 39"),
        // All forty of a minute may have come in one second, or as evenly as they can.
        ("unit: second, requests_per_unit: 10000", "denied at most 0 %: between 1 and 40; "),
    ];
    let data = tempfile::tempdir().unwrap();
    let data_dir = data.path().to_str().unwrap();
    let server = TestServer::start(&rules(limits[0].0), &["--history-flush", "100ms", "--data-dir", data_dir]);
    let dir = tempfile::tempdir().unwrap();
    let recording = Recording::start(&server, dir.path(), &["--max-checks", "157", "--duration", "5m"]);
    next_minute_if_late();
    for (user, times) in [("ann", 40), ("bob", 20), ("cy", 39), ("dee", 20), ("eve", 38)] {
        let entries = json!([{"key": "user", "value": user}, {"key": "path", "value": "/x"}]);
        let body = json!({"domain": "api", "descriptors": [{"entries": entries}]}).to_string();
        (0..times).for_each(|_| assert_eq!(server.http("POST", "/json", body.as_bytes()).0, 200));
    }
    let trace_file = recording.trace.clone();
    let (code, _, error) = recording.wait();
    assert_eq!(code, Some(0), "{error}");
    let admin = format!("http://{}", server.admin);
    for (limit, expected) in limits {
        let config = rules(limit);
        let of = |from: &[&str]| {
            let path = rules_in(&dir, &config);
            run(&[&["suggest", &path], from].concat(), "")
        };
        let from_server = ["--admin-addr", &admin];
        eventually("all requests in the history", || of(&from_server).1.contains("# 157 requests of 5 counters"));
        for from in [&from_server[..], &["--data-dir", data_dir]] {
            let (code, text, error) = of(from);
            assert_eq!(code, Some(0), "{error}");
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
            for (share, most) in SHARES {
                let path = rules_in(&dir, &config);
                let text = suggested(&dir, &[&[path.as_str()], from, &["--deny", share]].concat());
                let found = denied(&dir, &text, &trace_file);
                assert!(found <= most, "{found} of {share} with\n{text}");
            }
        }
    }
    // Without the rules: a limit per minute for each rule of the history.
    let text = suggested(&dir, &["--admin-addr", &admin]);
    let expected = "- key: \"user\"\n  descriptors:\n  - key: \"path\"\n    # 157 requests of 5 counters\n";
    assert!(text.contains(expected) && text.contains("rate_limit: {unit: minute, requests_per_unit: 40}"), "{text}");
    assert!(denied(&dir, &text, &trace_file) <= 0.0, "{text}");
}
