//! A server for the tests of the view: its reports and answers, and a model that has received them.

use prost_types::{Duration, Timestamp as WireTime};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Call, Event, Model};
use crate::api::proto::tidegate::v1::{
    ApplicableLimit, Counter, CounterUsage, Entry, LimitInForce, ListCountersRequest, ListCountersResponse,
    ListLimitsResponse, RuleUsage, ServerInstance, UsageCounts, UsageReport,
};
use crate::units::{Nanos, Timestamp};

/// 2026-11-26T04:00:00Z, an hour after the start of the server.
pub(super) const START: i64 = 1_795_665_600;

/// The time so many seconds after the start of the scene.
pub(super) fn at(second: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Nanos::from_secs(1_795_665_600 + second))
}

/// Three rules: of `api.user`, ann is admitted, bob over the limit, and mallory banned.
pub(super) fn report(model: &Model, second: u32) -> UsageReport {
    let place = &model.place;
    let grow = u64::from(second);
    let rules = [
        rule("api", "api.user", 30 + 20 * grow, 10 + 5 * grow, limit(10, 60)),
        rule("api", "api.path", 7_000 + 100 * grow, 0, limit(5_000, 1)),
        rule("shop", "shop.customer", 5, 1, LimitInForce { enabled: false, set: true, ..limit(3, 3_600) }),
    ];
    let keys = [
        key("api", "api.user", "user", "ann", 9 + 10 * grow, 0),
        key("api", "api.user", "user", "bob", 14 + 5 * grow, 4),
        key("api", "api.user", "user", "mallory", 7 + 5 * grow, 6 + 5 * grow),
        key("api", "api.path", "path", "/pay\u{1b}[31m", 7_000 + 100 * grow, 0),
        key("shop", "shop.customer", "customer", "c1", 5, 1),
    ];
    let rules: Vec<_> = rules.into_iter().filter(|rule| place.has_rule(&rule.domain, &rule.rule)).collect();
    let sum = |of: fn(&UsageCounts) -> u64| rules.iter().map(|rule| of(&rule.counts.unwrap())).sum();
    let total = UsageCounts {
        num_requests: sum(|counts| counts.num_requests),
        num_requests_denied: sum(|counts| counts.num_requests_denied),
        ..UsageCounts::default()
    };
    let is_in = |key: &CounterUsage| {
        place.has_rule(&key.domain, &key.rule) && place.entry().is_none_or(|entry| key.entries.contains(entry))
    };
    UsageReport {
        instance: Some(ServerInstance {
            id: "first".to_owned(),
            started: Some(WireTime { seconds: START - 3_600, nanos: 0 }),
            replicas: 0,
        }),
        time: Some(WireTime { seconds: START + i64::from(second), nanos: 0 }),
        rules,
        counters: keys.into_iter().filter(is_in).collect(),
        total: Some(total),
        ..UsageReport::default()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "fields of messages are optional")]
fn counts(checks: u64, denied: u64) -> Option<UsageCounts> {
    let counts = UsageCounts { num_requests: checks, num_requests_denied: denied, ..UsageCounts::default() };
    Some(counts)
}

fn rule(domain: &str, path: &str, checks: u64, denied: u64, limit: LimitInForce) -> RuleUsage {
    let (domain, rule) = (domain.to_owned(), path.to_owned());
    RuleUsage { domain, rule, counts: counts(checks, denied), limits: vec![limit] }
}

fn limit(requests_per_unit: u32, seconds: i64) -> LimitInForce {
    let period = Some(Duration { seconds, nanos: 0 });
    LimitInForce { requests_per_unit, period, enabled: true, ..LimitInForce::default() }
}

fn key(domain: &str, rule: &str, key: &str, value: &str, checks: u64, denied: u64) -> CounterUsage {
    CounterUsage {
        domain: domain.to_owned(),
        rule: rule.to_owned(),
        entries: vec![Entry { key: key.to_owned(), value: value.to_owned() }],
        other: false,
        counts: counts(checks, denied),
    }
}

/// The counters of `api.user` that match.
pub(super) fn counters(request: &ListCountersRequest) -> ListCountersResponse {
    let counter = |user: &str, used, denied| Counter {
        domain: "api".into(),
        rule: "api.user".into(),
        entries: vec![Entry { key: "user".into(), value: user.to_owned() }],
        limit_place: 1,
        used,
        limit: 10,
        period: Some(Duration { seconds: 60, nanos: 0 }),
        remaining: 10 - used,
        reset: Some(Duration { seconds: 42, nanos: 0 }),
        denied,
        ..Counter::default()
    };
    let banned_until = Some(WireTime { seconds: START + 600, nanos: 0 });
    let all =
        [counter("ann", 4, false), counter("bob", 10, true), Counter { banned_until, ..counter("mallory", 1, true) }];
    let wanted = all.into_iter().filter(|counter| {
        let is_named = |name: &str, wanted: &str| wanted.is_empty() || name == wanted;
        is_named(&counter.domain, &request.domain)
            && is_named(&counter.rule, &request.rule)
            && (!request.denied || counter.denied)
            && request.entries.iter().all(|entry| counter.entries.contains(entry))
    });
    let counters: Vec<_> = wanted.collect();
    let matched = counters.len() as u64;
    ListCountersResponse { counters, matched, searched: 3, total: 3, progress: 1.0, next_page_token: String::new() }
}

/// The limits of a domain, in words.
pub(super) fn limits(domain: &str) -> ListLimitsResponse {
    let limit = ApplicableLimit {
        rule: format!("{domain}.user"),
        words: "At most 10 requests per minute.".into(),
        ..ApplicableLimit::default()
    };
    ListLimitsResponse { limits: vec![limit] }
}

/// A model after so many seconds, in which the server answered every call.
pub(super) fn model(seconds: u32) -> Model {
    let mut model = Model::new("127.0.0.1:8082".to_owned());
    (0..=seconds).for_each(|second| pass(&mut model, second));
    model
}

/// One more second.
pub(super) fn pass(model: &mut Model, second: u32) {
    let now = at(u64::from(second));
    let report = report(model, second);
    model.update(now, Event::Report(model.place.clone(), Box::new(report)));
    answer(model, now);
}

/// Answers the calls that the model makes now.
pub(super) fn answer(model: &mut Model, now: Timestamp) {
    while let Some(call) = model.next_call(now) {
        let event = match call {
            Call::Counters(request) => {
                let page = counters(&request);
                Event::Counters(request, Ok(page))
            }
            Call::Limits(domain) => {
                let answer = limits(&domain);
                Event::Limits(domain, Ok(answer))
            }
            Call::Act(action) => Event::Acted(Ok(format!("did: {}", action.question()))),
        };
        model.update(now, event);
    }
}

/// Types keys: a letter each, and `<enter>`, `<esc>`, `<down>`, `<tab>`, `<back>`.
pub(super) fn press(model: &mut Model, keys: &str) {
    let mut rest = keys;
    while let Some(first) = rest.chars().next() {
        let named = [
            ("<enter>", KeyCode::Enter),
            ("<esc>", KeyCode::Esc),
            ("<down>", KeyCode::Down),
            ("<tab>", KeyCode::Tab),
            ("<back>", KeyCode::Backspace),
        ];
        let found = named.iter().find_map(|(name, code)| Some((*code, rest.strip_prefix(name)?)));
        let (code, after) = found.unwrap_or((KeyCode::Char(first), &rest[first.len_utf8()..]));
        model.key(KeyEvent::new(code, KeyModifiers::NONE));
        rest = after;
    }
}
