//! Counters: listed page by page, and made fresh.

use std::collections::HashSet;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::tidegate::v1::{
    BanCounterRequest, Counter, ListCountersRequest, ResetCountersRequest, UnbanCountersRequest,
};

use super::{Operator, admitted, entries, seconds};
use crate::TestServer;

/// A rule for each algorithm, with windows that no test outlives.
pub(super) const RULES: &str = "
domain: api
descriptors:
  - key: fixed
    rate_limit: {unit: year, requests_per_unit: 3}
  - key: sliding
    rate_limit: {unit: year, requests_per_unit: 3, algorithm: sliding_window}
  - key: log
    rate_limit: {unit: year, requests_per_unit: 3, algorithm: sliding_log}
  - key: bucket
    rate_limit: {unit: year, requests_per_unit: 3, algorithm: token_bucket}
  - key: two
    rate_limits:
      - {unit: year, requests_per_unit: 3}
      - {unit: year, requests_per_unit: 3, algorithm: sliding_log}
  - key: tenant
    value: acme
    descriptors:
      - key: user
        rate_limit: {unit: year, requests_per_unit: 3}
  - key: free
    rate_limit: {unlimited: true}
";

/// The keys of the rules with one entry.
pub(super) const KEYS: [&str; 5] = ["fixed", "sliding", "log", "bucket", "two"];

pub(super) fn rule(name: &str) -> ListCountersRequest {
    ListCountersRequest { rule: name.to_owned(), ..ListCountersRequest::default() }
}

/// The counters in words, such as `api.fixed fixed=a 2/3`.
fn words(counters: &[Counter]) -> Vec<String> {
    let one = |counter: &Counter| {
        let entries: Vec<_> = counter.entries.iter().map(|entry| format!("{}={}", entry.key, entry.value)).collect();
        format!("{} {} {}/{}", counter.rule, entries.join(" "), counter.used, counter.limit)
    };
    counters.iter().map(one).collect()
}

impl Operator {
    pub(super) async fn ban(&mut self, rule: &str, of: &str, length: i64) -> Result<(), tonic::Status> {
        let request = BanCounterRequest {
            rule: rule.to_owned(),
            entries: entries(of),
            r#for: Some(seconds(length)),
            reason: String::new(),
        };
        self.admin.ban_counter(request).await.map(drop)
    }

    pub(super) async fn unban(&mut self, rule: &str, of: &str) -> Result<u64, tonic::Status> {
        let request = UnbanCountersRequest { rule: rule.to_owned(), entries: entries(of), reason: String::new() };
        self.admin.unban_counters(request).await.map(|answer| answer.into_inner().unbanned)
    }

    pub(super) async fn reset(&mut self, rule: &str, of: &str) -> Result<u64, tonic::Status> {
        let request = ResetCountersRequest { rule: rule.to_owned(), entries: entries(of), reason: String::new() };
        self.admin.reset_counters(request).await.map(|answer| answer.into_inner().reset)
    }
}

#[tokio::test]
async fn the_most_used_counters_come_first_and_filters_narrow_the_list() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for (row, times) in [("fixed=a", 1), ("fixed=b", 3), ("bucket=b", 2), ("tenant=acme user=ann", 2), ("free=a", 9)] {
        for _ in 0..times {
            operator.check(row).await;
        }
    }
    let of_b = ListCountersRequest { entries: entries("fixed=b"), ..ListCountersRequest::default() };
    let acme = ListCountersRequest { entries: entries("tenant=acme"), ..ListCountersRequest::default() };
    let nobody = ListCountersRequest { entries: entries("fixed=nobody"), ..ListCountersRequest::default() };
    let over = ListCountersRequest { denied: true, ..ListCountersRequest::default() };
    let domain = ListCountersRequest { domain: "api".to_owned(), ..rule("api.fixed") };
    let (fixed, ann) =
        (["api.fixed fixed=b 3/3", "api.fixed fixed=a 1/3"], ["api.tenant_acme.user tenant=acme user=ann 2/3"]);
    let cases = [
        (rule("api.fixed"), &fixed[..]),
        (domain, &fixed),
        (of_b, &fixed[..1]),
        (acme, &ann),
        (nobody, &[]),
        (over, &fixed[..1]),
        (rule("api.free"), &[]),
    ];
    for (filter, want) in cases {
        assert_eq!(words(&operator.counters(filter.clone()).await), want, "{filter:?}");
    }
    let all = operator.counters(ListCountersRequest::default()).await;
    assert_eq!(all.iter().map(|counter| counter.used).collect::<Vec<_>>(), [3, 2, 2, 1]);
    let top = ListCountersRequest { top: 1, ..ListCountersRequest::default() };
    let top = operator.admin.list_counters(top).await.unwrap().into_inner();
    assert_eq!((words(&top.counters), top.matched, top.total), (vec![fixed[0].to_owned()], 4, 4));
    let over = &all[0];
    assert!(over.denied && over.remaining == 0 && over.reset.unwrap().seconds > 0, "{over:?}");
}

#[tokio::test]
async fn a_counter_shows_the_limit_that_is_set() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for row in ["fixed=a", "fixed=b"] {
        operator.check(row).await;
    }
    operator.set("rule api.fixed fixed=a", "requests_per_unit", "1").await.unwrap();
    let counters = operator.counters(rule("api.fixed")).await;
    let seen = |value: &str| {
        let counter = counters.iter().find(|counter| counter.entries[0].value == value).unwrap();
        (counter.limit, counter.remaining, counter.denied, counter.set)
    };
    assert_eq!((seen("a"), seen("b")), ((1, 0, true, true), (3, 2, false, false)));
}

/// More counters than one page searches.
const MANY: usize = 250_000;
/// Descriptors of one check.
const WIDE: usize = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_many_counters_are_listed_over_several_pages() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for first in (0..MANY).step_by(WIDE) {
        let descriptor = |value: usize| {
            let entry = rate_limit_descriptor::Entry { key: "fixed".to_owned(), value: value.to_string() };
            // Every thousandth is over its limit.
            let hits = if value.is_multiple_of(1_000) { 3 } else { 1 };
            RateLimitDescriptor { entries: vec![entry], hits_addend: Some(hits), ..Default::default() }
        };
        let descriptors = (first..first + WIDE).map(descriptor).collect();
        let check = RateLimitRequest { domain: "api".to_owned(), descriptors, ..Default::default() };
        operator.checks.should_rate_limit(check).await.unwrap();
    }
    let (mut found, mut pages, mut searched, mut progress) = (HashSet::new(), 0, 0, 0.0);
    let mut request = ListCountersRequest { denied: true, top: 1_000, ..ListCountersRequest::default() };
    loop {
        let page = operator.admin.list_counters(request.clone()).await.unwrap().into_inner();
        (pages, searched) = (pages + 1, searched + page.searched);
        assert_eq!(page.total, u64::try_from(MANY).unwrap());
        assert!(page.progress > progress, "{} after {progress}", page.progress);
        progress = page.progress;
        for counter in page.counters {
            assert!(found.insert(counter.entries[0].value.clone()), "listed twice: {counter:?}");
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert!(pages > 1, "one page is no test of several");
    assert_eq!((searched, found.len(), progress.to_string()), (u64::try_from(MANY).unwrap(), MANY / 1_000, "1".into()));
    assert_eq!(operator.reset("api.fixed", "").await.unwrap(), u64::try_from(MANY).unwrap());
    assert!(operator.counters(ListCountersRequest::default()).await.is_empty(), "all are fresh");
    assert_eq!(operator.check("fixed=0").await, admitted(3, 2));
}

#[tokio::test]
async fn reset_makes_counters_of_every_algorithm_fresh() {
    let server = TestServer::start(RULES, &[]);
    let mut operator = Operator::of(&server).await;
    for key in KEYS {
        let (a, b, rule) = (format!("{key}=a"), format!("{key}=b"), format!("api.{key}"));
        let limits = if key == "two" { 2 } else { 1 };
        for row in [&a, &b] {
            for _ in 0..4 {
                operator.check(row).await;
            }
            assert!(!operator.check(row).await.ok, "{row}");
        }
        assert_eq!(operator.reset(&rule, &format!("{key}=nobody")).await.unwrap(), 0, "{key}");
        assert_eq!(operator.reset(&rule, &a).await.unwrap(), limits, "{key}");
        assert_eq!(operator.check(&a).await, admitted(3, 2), "{key}: fresh again");
        assert!(!operator.check(&b).await.ok, "{key}: only one counter was reset");
        assert_eq!(operator.reset(&rule, "").await.unwrap(), 2 * limits, "{key}: all of the rule");
        assert_eq!(operator.check(&b).await, admitted(3, 2), "{key}");
    }
}
