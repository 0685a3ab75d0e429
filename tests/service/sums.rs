//! Whatever observers do, the sums agree: theirs, the metrics', the history's, and those of whoever made the load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::tidegate::v1::query_usage_request::GroupBy;
use tidegate::api::proto::tidegate::v1::usage_service_client::UsageServiceClient;
use tidegate::api::proto::tidegate::v1::{QueryUsageRequest, UsageCounts, UsageReport, WatchUsageRequest};

use crate::TestServer;
use crate::observers::{Reports, everything, next, watch};
use crate::server::{connect, eventually_async};

const RULES: &str = "
domain: api
descriptors:
  - key: user
    rate_limit: {unit: hour, requests_per_unit: 40}
  - key: tenant
    rate_limits:
      - {unit: hour, requests_per_unit: 100}
      - {unit: day, requests_per_unit: 150}
  - key: named
    value_to_metric: true
    rate_limit: {unit: hour, requests_per_unit: 30}
  - key: free
    rate_limit: {unlimited: true}
";

const CLIENTS: u64 = 3;
const CHECKS: u64 = 150;

/// What the statuses of all answers said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    allowed: u64,
    denied: u64,
    hits: u64,
    unmatched: u64,
}

fn random_check(random: &mut SmallRng) -> RateLimitRequest {
    let descriptors = (0..=random.random_range(0..3)).map(|_| {
        let key = ["user", "tenant", "named", "free", "nobody"][random.random_range(0..5)];
        let entries = vec![Entry { key: key.to_owned(), value: random.random_range(0..12).to_string() }];
        RateLimitDescriptor { entries, hits_addend: Some(random.random_range(1..=4)), ..RateLimitDescriptor::default() }
    });
    let descriptors = descriptors.collect();
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..RateLimitRequest::default() }
}

async fn load(address: String, seed: u64) -> Sums {
    let (mut random, mut sums) = (SmallRng::seed_from_u64(seed), Sums::default());
    let mut service = RateLimitServiceClient::new(connect(&address).await);
    for _ in 0..CHECKS {
        let check = random_check(&mut random);
        let answer = service.should_rate_limit(check.clone()).await.unwrap().into_inner();
        for (descriptor, status) in check.descriptors.iter().zip(answer.statuses) {
            if descriptor.entries[0].key == "nobody" {
                sums.unmatched += 1;
                continue;
            }
            sums.hits += descriptor.hits_addend.unwrap();
            let slot = if status.code == Code::OverLimit as i32 { &mut sums.denied } else { &mut sums.allowed };
            *slot += 1;
        }
    }
    sums
}

fn sums_of(report: &UsageReport) -> Sums {
    sums_in(&report.total.unwrap())
}

fn sums_in(total: &UsageCounts) -> Sums {
    Sums {
        allowed: total.num_requests_allowed,
        denied: total.num_requests_denied,
        hits: total.hits,
        unmatched: total.num_requests_unmatched,
    }
}

/// The counters of a report sum up to its rules, and those to its total.
fn assert_consistent(report: &UsageReport) {
    let hits = |of: &mut dyn Iterator<Item = u64>| of.sum::<u64>();
    let rules = hits(&mut report.rules.iter().map(|rule| rule.counts.unwrap().hits));
    let counters = hits(&mut report.counters.iter().map(|counter| counter.counts.unwrap().hits));
    assert_eq!((rules, counters), (report.total.unwrap().hits, report.total.unwrap().hits));
}

/// Reads until the stream reports `want`.
async fn last(reports: &mut Reports, want: &Sums) -> UsageReport {
    let mut found = None;
    eventually_async("a report with all that was sent", async || {
        let report = next(reports).await;
        assert_consistent(&report);
        let sums = sums_of(&report);
        assert!(sums.hits <= want.hits && sums.denied <= want.denied, "{sums:?} is more than {want:?}");
        found = (sums == *want).then_some(report);
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// The rows of the history sum up to `want`, however they are grouped, once all is flushed.
async fn history_agrees(server: &TestServer, want: &Sums) {
    let mut service = UsageServiceClient::new(connect(&server.admin).await);
    eventually_async("the flush of all rows", async || {
        let answer = service.query_usage(QueryUsageRequest::default()).await.unwrap().into_inner();
        let [total] = &answer.rows[..] else { panic!("one row for everything: {answer:?}") };
        sums_in(&total.counts.unwrap()) == *want
    })
    .await;
    for groups in [vec![GroupBy::Rule], vec![GroupBy::Time, GroupBy::Entry], vec![GroupBy::Rule, GroupBy::Entry]] {
        let entry_key = if groups.contains(&GroupBy::Entry) { "user".to_owned() } else { String::new() };
        let group_by = groups.iter().map(|group| *group as i32).collect();
        let mut request = QueryUsageRequest { group_by, entry_key, page_size: 3, ..QueryUsageRequest::default() };
        let mut sums = Sums { unmatched: want.unmatched, ..Sums::default() };
        loop {
            let answer = service.query_usage(request.clone()).await.unwrap().into_inner();
            for row in &answer.rows {
                let counts = row.counts.unwrap();
                sums.allowed += counts.num_requests_allowed;
                sums.denied += counts.num_requests_denied;
                sums.hits += counts.hits;
            }
            request.page_token = answer.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(sums, *want, "{groups:?}");
    }
}

/// Joins, leaves and resumes until the load is over.
async fn restless(server: Arc<TestServer>, over: Arc<AtomicBool>) -> Reports {
    let mut request = everything();
    let mut reports = watch(&server, request.clone()).await;
    let mut hits = 0;
    while !over.load(Ordering::Relaxed) {
        let report = next(&mut reports).await;
        assert_consistent(&report);
        assert!(report.total.unwrap().hits >= hits, "totals never go back");
        hits = report.total.unwrap().hits;
        let resume_instance_id = report.instance.unwrap().id;
        request = WatchUsageRequest { resume_instance_id, resume_sequence: report.sequence, ..request };
        reports = watch(&server, request.clone()).await;
    }
    reports
}

async fn agree(flags: &[&str]) {
    let server = Arc::new(TestServer::start(RULES, flags));
    let over = Arc::new(AtomicBool::new(false));
    let (mut steady, mut stalled) = (watch(&server, everything()).await, watch(&server, everything()).await);
    let restless = tokio::spawn(restless(Arc::clone(&server), Arc::clone(&over)));
    let mut clients = JoinSet::new();
    (0..CLIENTS).for_each(|seed| drop(clients.spawn(load(server.grpc.clone(), seed))));
    let want = clients.join_all().await.into_iter().fold(Sums::default(), |sum, one| Sums {
        allowed: sum.allowed + one.allowed,
        denied: sum.denied + one.denied,
        hits: sum.hits + one.hits,
        unmatched: sum.unmatched + one.unmatched,
    });
    over.store(true, Ordering::Relaxed);
    assert!(want.denied > 0 && want.unmatched > 0, "{want:?}");
    let mut restless = restless.await.unwrap();
    let mut late = watch(&server, everything()).await;
    for reports in [&mut steady, &mut stalled, &mut restless, &mut late] {
        last(reports, &want).await;
    }
    let (_, metrics) = server.http("GET", "/metrics", b"");
    let lines = metrics.lines().filter(|line| line.starts_with("ratelimit_service_rate_limit_total_hits{"));
    let hits: f64 = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(hits.to_string(), want.hits.to_string(), "{flags:?}");
    history_agrees(&server, &want).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sums_agree_whatever_observers_do() {
    let data = tempfile::tempdir().unwrap();
    agree(&["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sums_agree_with_few_series() {
    agree(&["--usage-series", "5", "--history-flush", "100ms"]).await;
}
