//! Checks that arrive together are answered as the same checks one by one.

use proptest::prelude::*;
use prost::Message;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::rls::RequestError;
use tidegate::limiter::{Code, Limiter, Settings, WorkerSlot};
use tidegate::rules::{LoadOptions, SourceFile, load};
use tidegate::service::{Answer, Arrived, Batch, Call, Reply};
use tidegate::units::{Nanos, Timestamp};

/// Of both domains: limits so small that most of a sequence meets them.
const DESCRIPTORS: &str = "
descriptors:
- {key: fixed, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: sliding, rate_limit: {algorithm: sliding_window, unit: minute, requests_per_unit: 4}}
- {key: log, rate_limit: {algorithm: sliding_log, unit: minute, requests_per_unit: 3}}
- {key: bucket, rate_limit: {algorithm: token_bucket, unit: second, requests_per_unit: 2, queue: 2}}
- {key: ban, rate_limit: {unit: second, requests_per_unit: 2, ban: {for: 3s, when: exceeded}}}
- {key: debt, rate_limit: {unit: second, requests_per_unit: 2, count_denied: true}}
- key: several
  rate_limits:
  - {unit: second, requests_per_unit: 2}
  - {algorithm: sliding_log, unit: minute, requests_per_unit: 5}
- {key: shadow, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}
- {key: quota, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 2}}
- {key: free, rate_limit: {unlimited: true}}
";

const KEYS: [&str; 11] =
    ["fixed", "sliding", "log", "bucket", "ban", "debt", "several", "shadow", "quota", "free", "unknown"];

fn limiter(counter_budget_bytes: usize) -> Limiter {
    let file =
        |name: &str, head: &str| SourceFile { name: name.into(), text: format!("{head}{DESCRIPTORS}").into_bytes() };
    let files = [file("each", "domain: each"), file("joint", "domain: joint\ncharge: all_or_nothing")];
    let limiter = Limiter::new(Settings { counter_budget_bytes, usage_series: 8, ..Settings::default() });
    limiter.replace_rules(Timestamp::EPOCH, load(&files, LoadOptions::default()).unwrap());
    limiter
}

fn any_descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
    let limit = (1_u32..4, 1_i32..3).prop_map(|(requests_per_unit, unit)| RateLimitOverride {
        requests_per_unit,
        unit,
        unit_multiplier: None,
    });
    let hits = prop_oneof![4 => Just(None), 1 => (0_u64..4).prop_map(Some)];
    (0..KEYS.len(), 0..2_u8, prop::option::weighted(0.1, limit), hits, prop::bool::weighted(0.1)).prop_map(
        |(key, value, limit, hits_addend, is_negative_hits)| RateLimitDescriptor {
            entries: vec![Entry { key: KEYS[key].into(), value: value.to_string() }],
            limit,
            hits_addend,
            is_negative_hits,
        },
    )
}

/// A message, and how long its caller waits. Some cannot be read, or are of a domain that is not configured.
fn any_check() -> impl Strategy<Value = (Vec<u8>, Option<u64>)> {
    let domain = prop_oneof![8 => Just("each"), 8 => Just("joint"), 1 => Just("other"), 1 => Just("")];
    let descriptors = prop_oneof![
        3 => prop::collection::vec(any_descriptor(), 1..2),
        1 => prop::collection::vec(any_descriptor(), 0..5),
    ];
    let message = (domain, descriptors, 0_u32..3).prop_map(|(domain, descriptors, hits_addend)| {
        RateLimitRequest { domain: domain.into(), descriptors, hits_addend }.encode_to_vec()
    });
    (prop_oneof![20 => message, 1 => Just(vec![0xff])], prop::option::of(0_u64..2_000))
}

type Answered = Result<(Vec<u8>, Code, Nanos), RequestError>;

fn answered(reply: Result<Reply, RequestError>) -> Answered {
    reply.map(|reply| (reply.frame.message().to_vec(), reply.code, reply.delay))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn together_and_one_by_one_the_answers_are_the_same(
        batches in prop::collection::vec((prop::collection::vec(any_check(), 0..80), 0_u64..40_000), 1..5),
        is_full in prop::bool::weighted(0.1),
    ) {
        let budget = if is_full { 0 } else { 1 << 30 };
        let (together, each) = (limiter(budget), limiter(budget));
        let mut now = Timestamp::from_ns(1_700_000_000_000_000_000);
        for (checks, then_ms) in &batches {
            let call = |timeout_ms: &Option<u64>| {
                Call { timeout: timeout_ms.map(|ms| Nanos::from_ns(ms * 1_000_000)), ..Call::default() }
            };
            let arrived: Vec<_> =
                checks.iter().map(|(message, timeout)| Arrived { call: call(timeout), message }).collect();
            let mut got = Vec::new();
            Batch::new(&together, WorkerSlot(0), now).answer_all(&arrived, |answer| match answer {
                Ok(Answer::Reply(reply)) => got.push(answered(Ok(reply))),
                Err(error) => got.push(Err(error)),
                Ok(Answer::Asked(_)) => panic!("there is no store to ask"),
            });
            let batch = Batch::new(&each, WorkerSlot(0), now);
            let wanted: Vec<_> = arrived.iter().map(|one| answered(batch.decide(one.call, one.message))).collect();
            prop_assert_eq!(got, wanted);
            // Their bytes depend on how the hashes, which are random, fall on the shards.
            let counters = |limiter: &Limiter| limiter.store().occupancy().counters;
            prop_assert_eq!(counters(&together), counters(&each));
            now = now.plus(Nanos::from_ns(then_ms * 1_000_000));
        }
        prop_assert_eq!(together.usage().series_used(), each.usage().series_used());
    }
}
