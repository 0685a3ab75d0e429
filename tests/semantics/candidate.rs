//! A candidate changes no answer, and its comparison is exact.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use smallvec::smallvec;

use tidegate::limiter::{Check, Code, Descriptor, Limiter, RuleDifference, Settings, WorkerSlot};
use tidegate::rules::{Entry, LoadOptions, Overlay, RuleSet, SourceFile, load};
use tidegate::units::{Nanos, Timestamp};

const IN_FORCE: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: minute, requests_per_unit: 5}}
- {key: tenant, rate_limit: {period: 10s, requests_per_unit: 7, algorithm: sliding_log}}
- {key: gone, rate_limit: {unit: minute, requests_per_unit: 3}}
";

const CANDIDATE: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: tenant, rate_limit: {period: 10s, requests_per_unit: 9, algorithm: token_bucket}}
- {key: new, rate_limit: {unit: minute, requests_per_unit: 2}}
";

fn rules(text: &str) -> Arc<RuleSet> {
    let file = SourceFile { name: "rules.yaml".into(), text: text.into() };
    Arc::new(load(&[file], LoadOptions::default()).unwrap())
}

fn limiter(text: &str) -> Limiter {
    let limiter = Limiter::new(Settings { workers: 2, ..Settings::default() });
    limiter.put_in_force(Timestamp::EPOCH, rules(text), &Overlay::default());
    limiter
}

/// The code of a check of one descriptor, and its status.
fn decide(limiter: &Limiter, worker: usize, now: Timestamp, key: &str, value: &str) -> (Code, Option<String>, u64) {
    let entry = Entry { key: key.into(), value: value.into() };
    let descriptor = Descriptor { entries: smallvec![entry], ..Descriptor::default() };
    let check = Check { domain: "api".into(), descriptors: smallvec![descriptor], ..Check::default() };
    let view = limiter.view().unwrap();
    let decision = view.check(WorkerSlot(worker), now, &check);
    let status = &decision.statuses[0];
    (decision.code, status.rule.map(|rule| rule.path.clone()), status.remaining)
}

#[test]
fn a_candidate_changes_no_answer_and_is_compared_exactly() {
    let seed = 1_126;
    let mut random = SmallRng::seed_from_u64(seed);
    let (plain, tried, expected) = (limiter(IN_FORCE), limiter(IN_FORCE), limiter(CANDIDATE));
    let mut now = Timestamp::from_ns(1_000_000_000_000);
    tried.put_candidate(now, Some((&rules(CANDIDATE), &Overlay::default())));
    let mut differences: BTreeMap<String, RuleDifference> = BTreeMap::new();
    let (mut checks, mut differing) = (0, 0);
    for step in 0..5_000 {
        now = now.plus(Nanos::from_ns(random.random_range(0..2_000_000_000)));
        let key = ["user", "tenant", "gone", "new", "unknown"][random.random_range(0..5)];
        let value = ["a", "b"][random.random_range(0..2)];
        let worker = random.random_range(0..2);
        let (before, after) = (decide(&plain, worker, now, key, value), decide(&expected, worker, now, key, value));
        assert_eq!(decide(&tried, worker, now, key, value), before, "seed {seed}, step {step}: {key}={value}");
        let [denied, would] = [&before, &after].map(|(code, ..)| *code == Code::OverLimit);
        (checks, differing) = (checks + 1, differing + u64::from(denied != would));
        if let Some(path) = after.1.or(before.1) {
            let sum = differences.entry(path).or_default();
            sum.checks += 1;
            sum.denied_in_force += u64::from(denied);
            sum.denied_by_candidate += u64::from(would);
            sum.only_in_force += u64::from(denied && !would);
            sum.only_candidate += u64::from(would && !denied);
        }
    }
    let comparison = tried.candidate().unwrap().comparison();
    assert_eq!((comparison.checks, comparison.differing), (checks, differing), "seed {seed}");
    assert_eq!(comparison.rules.iter().cloned().collect::<BTreeMap<_, _>>(), differences, "seed {seed}");
    assert!(differences.values().any(|sum| sum.only_candidate > 0) && differences["api.gone"].only_in_force > 0);
    let counters: u64 = comparison.counters.iter().map(|(_, one)| one.only_in_force + one.only_candidate).sum();
    assert_eq!(counters, differing, "each difference is that of one counter");

    tried.put_candidate(now, None);
    assert!(tried.candidate().is_none());
    assert_eq!(decide(&tried, 0, now, "user", "a"), decide(&plain, 0, now, "user", "a"));
}
