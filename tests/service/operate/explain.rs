//! Explanations: what a check would get, and why; and that nothing is charged by asking.

use tonic::Code;

use tidegate::api::proto::tidegate::v1::{ExplainRequest, ExplainResponse, ListCountersRequest, ListLimitsRequest};

use super::{Answer, Operator, entries};
use crate::TestServer;

/// A rule for each algorithm, and for several limits in one rule; with windows that no test outlives.
const ALGORITHMS: &str = "
domain: api
descriptors:
  - key: fixed
    rate_limit: {unit: year, requests_per_unit: 4}
  - key: first
    rate_limit: {unit: year, requests_per_unit: 4, starts: first_request}
  - key: sliding
    rate_limit: {unit: year, requests_per_unit: 4, algorithm: sliding_window}
  - key: log
    rate_limit: {unit: year, requests_per_unit: 4, algorithm: sliding_log}
  - key: bucket
    rate_limit: {unit: year, requests_per_unit: 4, algorithm: token_bucket}
  - key: queue
    rate_limit: {unit: year, requests_per_unit: 4, algorithm: token_bucket, queue: {size: 2, mode: advise}}
  - key: banned
    rate_limit: {unit: year, requests_per_unit: 4, ban: 1h}
  - key: several
    rate_limits:
      - {unit: year, requests_per_unit: 4}
      - {unit: day, requests_per_unit: 4, algorithm: sliding_log}
      - {unit: year, requests_per_unit: 4, algorithm: token_bucket}
";

const KEYS: [&str; 8] = ["fixed", "first", "sliding", "log", "bucket", "queue", "banned", "several"];

impl Operator {
    async fn explain(&mut self, row: &str) -> ExplainResponse {
        let request = ExplainRequest { domain: "api".to_owned(), entries: entries(row), hits: 0 };
        self.admin.explain(request).await.unwrap_or_else(|status| panic!("{row}: {status:?}")).into_inner()
    }
}

/// The answers to eight checks of each key, and the counters at the end; each check is explained so many times before.
async fn answers(explained: u32) -> (Vec<(String, Answer)>, Vec<String>) {
    let server = TestServer::start(ALGORITHMS, &[]);
    let mut operator = Operator::of(&server).await;
    let mut answers = Vec::new();
    for key in KEYS {
        let row = format!("{key}=a");
        for round in 0..8 {
            let counters = if explained > 0 { states(&mut operator).await } else { Vec::new() };
            for _ in 0..explained {
                let would = operator.explain(&row).await;
                assert_eq!(would.rule, format!("api.{key}"));
                assert_eq!(would.over_limit, round >= allowed(key), "{row}, round {round}: {would:?}");
            }
            if explained > 0 {
                assert_eq!(states(&mut operator).await, counters, "{row}, round {round}: explaining changed a counter");
            }
            answers.push((row.clone(), operator.check(&row).await));
        }
    }
    (answers, states(&mut operator).await)
}

/// How many checks a key has before it is denied.
fn allowed(key: &str) -> u32 {
    // The queue has two places in addition.
    if key == "queue" { 6 } else { 4 }
}

/// Each counter without its times, which pass.
async fn states(operator: &mut Operator) -> Vec<String> {
    let counters = operator.counters(ListCountersRequest::default()).await;
    let state = |counter: &tidegate::api::proto::tidegate::v1::Counter| {
        let place = (&*counter.rule, &*counter.entries[0].value, counter.limit_place);
        let is_banned = counter.banned_until.is_some();
        format!("{place:?} {} {} {} {is_banned}", counter.used, counter.remaining, counter.denied)
    };
    let mut states: Vec<_> = counters.iter().map(state).collect();
    states.sort();
    states
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explaining_a_hundred_times_charges_nothing() {
    let (without, counters) = answers(0).await;
    assert_eq!(without.iter().filter(|(_, answer)| answer.ok).count(), 7 * 4 + 6);
    let (with, after) = answers(100).await;
    assert_eq!((with, after), (without, counters));
}

#[tokio::test]
async fn what_was_never_checked_gets_no_counter_by_asking() {
    let server = TestServer::start(ALGORITHMS, &[]);
    let mut operator = Operator::of(&server).await;
    for key in KEYS {
        let would = operator.explain(&format!("{key}=new")).await;
        assert!(!would.over_limit && would.limits.iter().all(|limit| limit.admits), "{would:?}");
    }
    let page = operator.admin.list_counters(ListCountersRequest::default()).await.unwrap().into_inner();
    assert_eq!((page.searched, page.total), (0, 0));
}

const RULES: &str = "
domain: api
descriptors:
  - key: partner
    rate_limit: {unit: year, requests_per_unit: 5}
  - key: partner
    value: acme
    descriptors:
      - key: endpoint
        rate_limit: {unit: year, requests_per_unit: 1}
      - key: region
        value: eu
        rate_limit: {unit: year, requests_per_unit: 1}
  - key: path
    value: '/v1/*'
    descriptors:
      - key: method
        value: GET
        rate_limit: {unit: year, requests_per_unit: 1}
  - key: user
    descriptors:
      - key: tenant
        rate_limit: {unit: year, requests_per_unit: 1}
";

#[tokio::test]
async fn each_kind_of_near_miss_says_what_is_missing() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let cases = [
        // An exact child without a limit hides the rule for all partners.
        ("partner=acme", "api.partner", "'partner_acme' comes first, and what is found first is final"),
        ("tenant=acme user=ann", "api.user.tenant", "needs the order user, tenant"),
        ("usr=ann tenant=acme", "api.user.tenant", "needs the key 'user', not 'usr'"),
        ("user=ann", "api.user.tenant", "needs also tenant"),
        ("partner=beta endpoint=/pay", "api.partner", "has only partner, the descriptor also has endpoint"),
        ("partner=acme region=us", "api.partner_acme.region_eu", "needs 'region=eu', not 'region=us'"),
        ("path=/v1/pay method=PUT", "api.path_/v1/*.method_GET", "needs 'method=GET', not 'method=PUT'"),
    ];
    for (row, rule, why) in cases {
        let explained = operator.explain(row).await;
        assert_eq!(explained.rule, "", "{row}");
        assert!(!explained.why.is_empty() && !explained.over_limit && explained.limits.is_empty(), "{explained:?}");
        let near: Vec<_> = explained.near_misses.iter().map(|near| (&*near.rule, &*near.why)).collect();
        assert!(near.contains(&(rule, why)), "{row}: {near:?}");
        assert!(operator.check(row).await.limit.is_none(), "{row}: a check finds no rule either");
    }
}

#[tokio::test]
async fn a_descriptor_may_have_as_many_entries_as_that_of_a_check() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let row = "user=ann ".repeat(100);
    assert!(operator.check(&row).await.ok);
    assert_eq!(operator.explain(&row).await.rule, "");
    let request = ExplainRequest { domain: "api".to_owned(), entries: entries(&"user=ann ".repeat(101)), hits: 0 };
    let error = operator.admin.explain(request).await.unwrap_err();
    assert!(error.code() == Code::InvalidArgument && error.message().contains("at most 100"), "{error:?}");
}

#[tokio::test]
async fn the_steps_the_settings_and_the_answer_are_those_of_a_check() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    let row = "partner=acme endpoint=/pay";
    let steps = |explained: &ExplainResponse| {
        let step = |step: &tidegate::api::proto::tidegate::v1::ExplainStep| (step.matched.clone(), step.how.clone());
        explained.steps.iter().map(step).collect::<Vec<_>>()
    };
    let first = operator.explain(row).await;
    let want = [("partner_acme", "exact"), ("endpoint", "default")].map(|(matched, how)| (matched.into(), how.into()));
    assert_eq!(steps(&first), want);
    let limit = &first.limits[0];
    assert!(limit.source.ends_with("rules.yaml:10"), "{}", limit.source);
    assert!(limit.admits && first.settings.is_empty() && !first.over_limit && !limit.counter.clone().unwrap().set);

    operator.check(row).await;
    assert!(operator.explain(row).await.over_limit);
    operator.set("rule api.partner_acme.endpoint endpoint=/pay", "requests_per_unit", "3").await.unwrap();
    let raised = operator.explain(row).await;
    let counter = raised.limits[0].counter.clone().unwrap();
    assert!(!raised.over_limit && raised.limits[0].source.contains("setting of rule"), "{raised:?}");
    assert_eq!((counter.used, counter.limit, counter.remaining, counter.set), (1, 3, 2, true));
    assert_eq!(raised.settings.len(), 1);

    let with_hits = ExplainRequest { domain: "api".to_owned(), entries: entries(row), hits: 3 };
    assert!(operator.admin.explain(with_hits).await.unwrap().into_inner().over_limit, "three more are one too many");
    operator.set("domain api partner=acme", "enabled", "false").await.unwrap();
    let off = operator.explain(row).await;
    assert!(!off.over_limit && off.why.contains("switched off") && off.settings.len() == 2, "{off:?}");
    operator.unset("domain api partner=acme", "enabled").await.unwrap();
    operator.set("", "shadow_mode", "true").await.unwrap();
    operator.set("rule api.partner_acme.endpoint endpoint=/pay", "requests_per_unit", "1").await.unwrap();
    let shadow = operator.explain(row).await;
    assert!(shadow.shadow_mode && !shadow.over_limit && !shadow.limits[0].admits, "{shadow:?}");
    assert!(operator.check(row).await.ok);
}

#[tokio::test]
async fn limits_lists_what_applies_with_the_settings() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    operator.set("rule api.partner", "requests_per_unit", "50").await.unwrap();
    let request = ListLimitsRequest { domain: "api".to_owned(), entries: entries("partner=beta") };
    let limits = operator.admin.list_limits(request).await.unwrap().into_inner().limits;
    let found: Vec<_> = limits.iter().map(|limit| (&*limit.rule, limit.requests_per_unit, limit.set)).collect();
    assert_eq!(found[0], ("api.partner", 50, true), "{limits:?}");
    let request = ListLimitsRequest { domain: "apis".to_owned(), entries: Vec::new() };
    let error = operator.admin.list_limits(request).await.unwrap_err();
    assert!(error.code() == Code::InvalidArgument && error.message().contains("api"), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_explained_is_a_clear_error() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for (domain, row, text) in [
        ("", "partner=acme", "give a domain"),
        ("api", "", "the entries of one descriptor"),
        ("apis", "partner=acme", "api"),
        ("api", "=acme", "no key"),
    ] {
        let request = ExplainRequest { domain: domain.to_owned(), entries: entries(row), hits: u64::MAX };
        let error = operator.admin.explain(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{domain} {row}: {error:?}");
        assert!(error.message().contains(text), "{domain} {row}: {}", error.message());
    }
    let most = ExplainRequest { domain: "api".to_owned(), entries: entries("partner=beta"), hits: u64::MAX };
    assert!(operator.admin.explain(most).await.unwrap().into_inner().over_limit);
}
