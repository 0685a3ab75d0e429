//! Numbers and bounds, compared with what a naive count, or the engine itself, finds for random traffic.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::search::boundary;
use super::sums::{Denials, denials};
use super::*;
use crate::engine::{Ban, BanWhen, CountDenied, Op, Queue, QueueMode, Starts};
use crate::units::{Nanos, Timestamp};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

const CLOCK: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
const FIRST: Algorithm = Algorithm::FixedWindow { starts: Starts::FirstRequest };

const fn bucket(burst: u32, size: u32) -> Algorithm {
    Algorithm::TokenBucket { burst, queue: Queue { size, mode: QueueMode::Hold } }
}

const fn limit(algorithm: Algorithm, window_ns: u64) -> Limit {
    let count_denied = CountDenied::Never;
    Limit { max: 1, window: Nanos::from_ns(window_ns), algorithm, ban: None, count_denied }
}

/// Requests of some counters within `span_ns`: bursts, rests and a steady part.
fn traffic(random: &mut SmallRng, counters: usize, most: usize, span_ns: u64, most_hits: u64) -> Vec<CounterRequests> {
    let one = |random: &mut SmallRng, name: usize| {
        let mut at: Vec<u64> = Vec::new();
        for _ in 0..random.random_range(1..=most) {
            let burst = at.last().copied().filter(|_| random.random_bool(0.6));
            let next = match burst {
                Some(near) => near + random.random_range(0..SECOND),
                None => random.random_range(0..span_ns),
            };
            at.push(next.min(span_ns - 1));
        }
        at.sort_unstable();
        let request = |at| Request {
            at: Timestamp::from_ns(at),
            op: Op::Charge(random.random_range(1..=most_hits)),
            timeout: None,
        };
        let requests = at.into_iter().map(request).collect();
        CounterRequests { entries: vec![("user".to_owned(), name.to_string())], requests }
    };
    (0..counters).map(|name| one(random, name)).collect()
}

fn count(counters: &[CounterRequests]) -> u64 {
    counters.iter().map(|counter| counter.requests.len() as u64).sum()
}

/// What came, by buckets.
fn summed(counters: &[CounterRequests], bucket_ns: u64) -> SumsOf {
    let sums = |counter: &CounterRequests| {
        let mut sums: Vec<Sum> = Vec::new();
        for request in &counter.requests {
            let bucket = request.at.as_ns() / bucket_ns;
            let Op::Charge(hits) = request.op else { continue };
            match sums.last_mut().filter(|last| last.bucket == bucket) {
                Some(last) => (last.requests, last.hits) = (last.requests + 1, last.hits + hits),
                None => sums.push(Sum { bucket, requests: 1, hits }),
            }
        }
        CounterSums { entries: counter.entries.clone(), sums }
    };
    SumsOf { bucket_ns, counters: counters.iter().map(sums).collect(), refunds: false }
}

/// Denials of requests of one hit in clock-aligned windows, by counting.
fn naive_aligned(max: u32, window_ns: u64, counters: &[CounterRequests]) -> u64 {
    let mut denied = 0;
    for counter in counters {
        let mut left: Vec<_> = counter.requests.iter().map(|request| request.at.as_ns() / window_ns).collect();
        while let Some(window) = left.first().copied() {
            let before = left.len();
            left.retain(|other| *other != window);
            denied += ((before - left.len()) as u64).saturating_sub(max.into());
        }
    }
    denied
}

/// Denials of requests of one hit by a sliding log, by looking at all that was admitted before.
fn naive_log(max: u32, window_ns: u64, counters: &[CounterRequests]) -> u64 {
    let mut denied = 0;
    for counter in counters {
        let mut admitted: Vec<u64> = Vec::new();
        for at in counter.requests.iter().map(|request| request.at.as_ns()) {
            let counting = admitted.iter().filter(|before| **before + window_ns > at).count();
            if counting < max as usize { admitted.push(at) } else { denied += 1 }
        }
    }
    denied
}

/// Counts denials for a number and a window.
type Naive = fn(u32, u64, &[CounterRequests]) -> u64;

#[test]
fn numbers_from_requests_are_the_least_that_deny_no_more() {
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..40 {
        let counters = traffic(&mut random, 5, 400, 10 * MINUTE, 1);
        let (requests, window) = (count(&counters), if round % 2 == 0 { MINUTE } else { SECOND });
        let cases: [(Algorithm, Naive); 2] = [(CLOCK, naive_aligned), (Algorithm::SlidingLog, naive_log)];
        for (algorithm, naive) in cases {
            let found = from_requests(&limit(algorithm, window), &counters, requests);
            for (share, found) in SHARES.iter().zip(found) {
                let least = (0..=u32::MAX).find(|max| naive(*max, window, &counters) <= share.of(requests));
                assert_eq!(found, least, "seed {seed}, round {round}, {algorithm:?}, {}", share.text);
            }
        }
    }
}

#[test]
fn one_less_denies_more_whatever_the_algorithm() {
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    let ban = |when| Some(Ban { length: Nanos::from_secs(10), when });
    for round in 0..20 {
        let counters = traffic(&mut random, 4, 300, 5 * MINUTE, if round % 2 == 0 { 1 } else { 5 });
        let requests = count(&counters);
        let limits = [
            limit(CLOCK, 10 * SECOND),
            limit(FIRST, 10 * SECOND),
            limit(Algorithm::SlidingWindow, 10 * SECOND),
            limit(Algorithm::SlidingLog, 10 * SECOND),
            limit(bucket(1, 0), 10 * SECOND),
            limit(bucket(1, 3), 10 * SECOND),
            Limit { ban: ban(BanWhen::Reached), ..limit(CLOCK, 10 * SECOND) },
            Limit { ban: ban(BanWhen::Exceeded), ..limit(Algorithm::SlidingLog, 10 * SECOND) },
            Limit { count_denied: CountDenied::Always, ..limit(Algorithm::SlidingWindow, 10 * SECOND) },
        ];
        for limit in limits {
            let found = from_requests(&limit, &counters, requests);
            for (share, found) in SHARES.iter().zip(found) {
                let what = format!("seed {seed}, round {round}, {limit:?}, {}", share.text);
                let found = found.unwrap_or_else(|| panic!("no number: {what}"));
                let with = |max| denied(&with_max(&limit, max), &counters, u64::MAX);
                let allowed = share.of(requests);
                assert!(with(found) <= allowed, "{what}: {found} denies {} of {allowed}", with(found));
                assert!(found == 0 || with(found - 1) > allowed, "{what}: {found} is not the least");
            }
        }
    }
}

#[test]
fn a_burst_of_its_own_can_be_too_small_for_any_rate() {
    let at = |ns| Request { at: Timestamp::from_ns(ns), op: Op::Charge(1), timeout: None };
    let counters = [CounterRequests { entries: Vec::new(), requests: vec![at(0); 8] }];
    assert_eq!(from_requests(&limit(bucket(5, 0), SECOND), &counters, 8), [None; 3]);
    assert_eq!(from_requests(&limit(bucket(1, 0), SECOND), &counters, 8), [Some(8); 3]);
}

#[test]
fn bounds_from_sums_hold_what_the_engine_denies() {
    let seed: u64 = rand::random();
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..60 {
        let one_hit = round % 3 > 0;
        let counters = traffic(&mut random, 3, 120, 12 * MINUTE, if one_hit { 1 } else { 4 });
        let sums = summed(&counters, MINUTE);
        for window in [SECOND, 30 * SECOND, 45 * SECOND, MINUTE, 90 * SECOND, 5 * MINUTE] {
            let ban = Some(Ban { length: Nanos::from_secs(7), when: BanWhen::Reached });
            let limits = [
                limit(CLOCK, window),
                limit(FIRST, window),
                limit(Algorithm::SlidingWindow, window),
                limit(Algorithm::SlidingLog, window),
                limit(bucket(1, 0), window),
                limit(bucket(4, 0), window),
                limit(bucket(1, 3), window),
                Limit { ban, ..limit(CLOCK, window) },
                Limit { count_denied: CountDenied::Alone, ..limit(CLOCK, window) },
                Limit { count_denied: CountDenied::Always, ..limit(Algorithm::SlidingLog, window) },
                Limit { count_denied: CountDenied::Always, ..limit(bucket(1, 0), window) },
            ];
            for limit in limits {
                for max in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
                    let limit = with_max(&limit, max);
                    let denied = denied(&limit, &counters, u64::MAX);
                    let Denials { least, most } = denials(&limit, &sums, one_hit);
                    let what = format!("seed {seed}, round {round}, {limit:?}");
                    assert!((least..=most).contains(&denied), "{what}: {denied} is not within {least}..={most}");
                    if one_hit && limit.algorithm == CLOCK && limit.ban.is_none() && window % MINUTE == 0 {
                        assert_eq!(least, most, "{what}: whole buckets leave nothing open");
                    }
                }
            }
        }
    }
}

#[test]
fn refunds_and_coarse_buckets_widen_the_bounds() {
    let sums = |bucket_ns, hits: &[(u64, u64)]| {
        let sums = hits.iter().map(|&(bucket, hits)| Sum { bucket, requests: hits, hits }).collect();
        SumsOf { bucket_ns, counters: vec![CounterSums { entries: Vec::new(), sums }], refunds: false }
    };
    let found = |limit: &Limit, sums: &SumsOf| from_sums(limit, sums).map(|found| found.map(|f| (f.least, f.most)));
    let minutes = sums(MINUTE, &[(1, 120), (2, 1_880)]);
    // A window of a minute is a row of the history: nothing is open. 0.1 % of 2,000 are 2, 1 % are 20.
    assert_eq!(
        found(&limit(CLOCK, MINUTE), &minutes),
        [Some((1_880, 1_880)), Some((1_878, 1_878)), Some((1_860, 1_860))]
    );
    // All of a minute may have come in one second, or evenly.
    let [none, ..] = found(&limit(CLOCK, SECOND), &minutes);
    assert_eq!(none, Some((32, 1_880)));
    // Any minute touches two rows.
    let [none, ..] = found(&limit(Algorithm::SlidingLog, MINUTE), &minutes);
    assert_eq!(none, Some((1_880, 2_000)));
    let [none, ..] = found(&limit(CLOCK, MINUTE), &SumsOf { refunds: true, ..minutes });
    assert_eq!(none, Some((0, 1_880)));
}

#[test]
fn the_search_is_within_the_largest_number_of_the_algorithm() {
    let counters: Vec<_> = [70_000_u64]
        .map(|hits| CounterRequests {
            entries: Vec::new(),
            requests: vec![Request { at: Timestamp::EPOCH, op: Op::Charge(hits), timeout: None }],
        })
        .into();
    assert_eq!(from_requests(&limit(Algorithm::SlidingLog, SECOND), &counters, 1)[0], None);
    assert_eq!(from_requests(&limit(CLOCK, SECOND), &counters, 1)[0], Some(70_000));
    assert_eq!(boundary(0, 5, |_| 0), Some(0));
}
