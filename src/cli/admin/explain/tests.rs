//! What is printed for each answer.

use prost_types::{Duration, Timestamp as WireTime};

use super::*;
use crate::api::proto::tidegate::v1::{ExplainStep, NearMiss, SettingScope};
use crate::cli::table::WIDTH;

const NOW: Timestamp = Timestamp::from_ns(1_795_665_600_000_000_000);

fn entry(key: &str, value: &str) -> Entry {
    Entry { key: key.into(), value: value.into() }
}

fn step(key: &str, value: &str, matched: &str, how: &str) -> ExplainStep {
    ExplainStep { entry: Some(entry(key, value)), matched: matched.into(), how: how.into() }
}

fn unmatched() -> ExplainResponse {
    let miss = |rule: &str, why: &str| NearMiss { rule: rule.into(), why: why.into() };
    ExplainResponse {
        steps: vec![step("partner", "acme", "partner", "default"), step("path", "/pay", "", "none")],
        why: "no rule matches all entries in their order".into(),
        near_misses: vec![miss("api.partner.endpoint", "its second key is endpoint, not path")],
        ..ExplainResponse::default()
    }
}

fn over() -> ExplainResponse {
    let alice = Counter {
        entries: vec![entry("user", "alice")],
        used: 10,
        remaining: 0,
        reset: Some(Duration { seconds: 12, nanos: 1 }),
        banned_until: Some(WireTime { seconds: 1_795_666_200, nanos: 0 }),
        ..Counter::default()
    };
    let limit = |words: &str, admits, delay: i32, counter| ExplainedLimit {
        words: words.into(),
        counter,
        admits,
        delay: Some(Duration { seconds: 0, nanos: delay }),
        source: String::new(),
    };
    let setting = Setting {
        scope: Some(SettingScope { rule: "api.user".into(), ..SettingScope::default() }),
        name: "requests_per_unit".into(),
        value: "10".into(),
        set_at: Some(WireTime { seconds: 1_795_665_599, nanos: 0 }),
        principal: "127.0.0.1:4711".into(),
        ..Setting::default()
    };
    ExplainResponse {
        steps: vec![step("user", "alice", "user", "default")],
        rule: "api.user".into(),
        limits: vec![
            ExplainedLimit { source: "setting".into(), ..limit("10 per minute", false, 0, Some(alice)) },
            limit("5 per second, token_bucket, burst 5", true, 120_000_000, Some(Counter::default())),
            limit("1000 per day", true, 0, None),
        ],
        over_limit: true,
        settings: vec![setting],
        ..ExplainResponse::default()
    }
}

#[test]
fn explanations() {
    let shadow = ExplainResponse { shadow_mode: true, ..over() };
    let unlimited = ExplainResponse {
        steps: Vec::new(),
        rule: "api.internal".into(),
        why: "the rule is unlimited".into(),
        ..ExplainResponse::default()
    };
    let found = "\
entry       matched  how
user=alice  user     default
rule: api.user
limits:
  10 per minute
    from: setting
    user=alice: used 10, remaining 0, reset in 13s, banned until 2026-11-26T04:10:00Z (in 10m)
    denies the check
  5 per second, token_bucket, burst 5
    counter: used 0, remaining 0
    admits the check after 120ms
  1000 per day
    admits the check
settings:
  requests_per_unit of rule api.user: 10
    set 2026-11-26T03:59:59Z by 127.0.0.1:4711
";
    let cases = [
        (
            unmatched(),
            "\
entry         matched  how
partner=acme  partner  default
path=/pay     -        none
rule: none: no rule matches all entries in their order
near misses:
  api.partner.endpoint: its second key is endpoint, not path
a check would get OK"
                .to_owned(),
        ),
        (over(), format!("{found}a check would get OVER_LIMIT")),
        (shadow, format!("{found}a check would get OK: it is over the limit, and admitted in shadow mode")),
        (unlimited, "rule: api.internal: the rule is unlimited\na check would get OK".to_owned()),
    ];
    for (answer, expected) in cases {
        assert_eq!(render(&answer, NOW), expected);
    }
}

#[test]
fn long_and_hostile_values_fit() {
    let text = "x\x1b[2J\u{202e}\n".repeat(500);
    let mut answer = over();
    answer.steps = vec![step(&text, &text, &text, &text)];
    (answer.rule, answer.why) = (text.clone(), text.clone());
    answer.near_misses = vec![NearMiss { rule: text.clone(), why: text.clone() }];
    for limit in &mut answer.limits {
        (limit.words, limit.source) = (text.clone(), text.clone());
        limit.counter = Some(Counter { entries: vec![entry(&text, &text)], used: u64::MAX, ..Counter::default() });
    }
    let text = render(&answer, NOW);
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
}
