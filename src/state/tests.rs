//! What is written is read; what is damaged is set aside, and a counter is exact or absent.

use std::fs;
use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use smallvec::smallvec;
use tempfile::TempDir;

use super::*;
use crate::limiter::{Check, Descriptor, Override, Settings, WorkerSlot};
use crate::rules::{Entry, LoadOptions, Period, SourceFile, Unit, load};
use crate::units::Nanos;

const RULES: &str = "domain: api
descriptors:
- {key: fixed, rate_limit: {unit: day, requests_per_unit: 100}}
- {key: first, rate_limit: {unit: hour, requests_per_unit: 100, starts: first_request, ban: 1h}}
- {key: sliding, rate_limit: {unit: day, requests_per_unit: 100, algorithm: sliding_window}}
- {key: log, rate_limit: {unit: hour, requests_per_unit: 100, algorithm: sliding_log, ban: 2h}}
- {key: bucket, rate_limit: {unit: hour, requests_per_unit: 100, algorithm: token_bucket}}
- key: list
  rate_limits: [{unit: day, requests_per_unit: 100}, {unit: hour, requests_per_unit: 90}]
";

const KEYS: [&str; 7] = ["fixed", "first", "sliding", "log", "bucket", "list", "override"];
const NOW: Timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);

fn limiter(rules: &str) -> Limiter {
    let limiter = Limiter::new(Settings::default());
    let file = SourceFile { name: "rules.yaml".into(), text: rules.into() };
    limiter.replace_rules(NOW, load(&[file], LoadOptions::default()).unwrap());
    limiter
}

/// The hits that a counter has left, and the time until it regains some; of a check that charges `hits`.
fn left(limiter: &Limiter, now: Timestamp, key: &str, value: &str, hits: u64) -> (u64, Nanos) {
    let limit = (key == "override")
        .then(|| Override { requests_per_unit: 100, period: Some(Period::from_units(Unit::Day, 1)) });
    let entry = Entry { key: key.into(), value: value.into() };
    let descriptor = Descriptor { entries: smallvec![entry], hits: Some(hits), limit, refund: false };
    let check = Check { domain: "api".into(), descriptors: smallvec![descriptor], ..Check::default() };
    let view = limiter.view().unwrap();
    let decision = view.check(WorkerSlot::default(), now, &check);
    (decision.statuses[0].remaining, decision.statuses[0].reset)
}

/// Random use of some counters of every algorithm, some of them banned.
fn used(random: &mut SmallRng) -> Limiter {
    let limiter = limiter(RULES);
    for step in 0..600 {
        let (key, value) = (KEYS[random.random_range(0..KEYS.len())], format!("value-{}", random.random_range(0..20)));
        left(&limiter, NOW.plus(Nanos::from_ns(step * 1_000_000)), key, &value, random.random_range(1..20));
    }
    left(&limiter, NOW, "fixed", &"long".repeat(100), 7);
    limiter
        .ban_counter("api.bucket", &[("bucket".into(), "banned".into())], NOW.plus(Nanos::from_secs(9_000)))
        .unwrap();
    limiter
}

fn all(limiter: &Limiter, now: Timestamp) -> Vec<(u64, Nanos)> {
    let values = || (0..20).map(|n| format!("value-{n}")).chain(["long".repeat(100), "banned".into()]);
    KEYS.iter().flat_map(|key| values().map(|value| left(limiter, now, key, &value, 0)).collect::<Vec<_>>()).collect()
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("counters.state");
    (dir, path)
}

#[test]
fn every_counter_goes_on_where_it_was() {
    for seed in 0..20 {
        let (_dir, path) = place();
        let before = used(&mut SmallRng::seed_from_u64(seed));
        let written = write(&path, &before, NOW).unwrap();
        assert_eq!(u64::from(written.counters), before.store().occupancy().counters as u64, "seed {seed}");
        assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
        let after = limiter(RULES);
        let restored = restore(&path, &after, NOW);
        assert_eq!((restored.counters, restored.dropped), (u64::from(written.counters), 0), "seed {seed}");
        for later in [1, 3_000, 8_999, 9_001, 40_000] {
            let now = NOW.plus(Nanos::from_secs(later));
            assert_eq!(all(&after, now), all(&before, now), "seed {seed}, {later} s later");
        }
    }
}

/// Rules that changed meanwhile follow the rules of a reload: another number keeps the count, a removed rule's counters go.
#[test]
fn changed_rules_find_their_counters() {
    let (_dir, path) = place();
    let before = limiter(RULES);
    left(&before, NOW, "fixed", "a", 10);
    left(&before, NOW, "log", "a", 10);
    write(&path, &before, NOW).unwrap();
    let after = limiter("domain: api\ndescriptors: [{key: fixed, rate_limit: {unit: day, requests_per_unit: 15}}]\n");
    let restored = restore(&path, &after, NOW);
    assert_eq!((restored.counters, restored.dropped, restored.damage), (1, 1, None));
    assert_eq!(left(&after, NOW, "fixed", "a", 0).0, 5);
}

/// What is spent at the start is dropped; a clock that was set back does not open a window again.
#[test]
fn a_clock_that_was_set_loses_nothing_that_counts() {
    let (_dir, path) = place();
    let before = limiter(RULES);
    left(&before, NOW, "fixed", "a", 100);
    write(&path, &before, NOW).unwrap();
    let year = Nanos::from_secs(365 * 86_400);
    let later = limiter(RULES);
    let restored = restore(&path, &later, NOW.plus(year));
    assert_eq!((restored.counters, restored.dropped), (0, 1));
    let earlier = limiter(RULES);
    assert_eq!(restore(&path, &earlier, NOW.minus(Nanos::from_secs(86_400))).counters, 1);
    assert_eq!(left(&earlier, NOW.minus(Nanos::from_secs(86_400)), "fixed", "a", 1).0, 0);
}

#[test]
fn no_file_is_no_damage() {
    let (_dir, path) = place();
    let restored = restore(&path, &limiter(RULES), NOW);
    assert_eq!((restored.counters, restored.dropped, restored.damage), (0, 0, None));
}

/// Each damage is reported, the file set aside, and no counter is other than it was.
#[test]
fn a_damaged_file_is_set_aside_and_nothing_in_it_is_wrong() {
    let mut random = SmallRng::seed_from_u64(12);
    let (_dir, path) = place();
    let before = used(&mut random);
    write(&path, &before, NOW).unwrap();
    let whole = fs::read(&path).unwrap();
    let expected = all(&before, NOW);
    let fresh = all(&limiter(RULES), NOW);
    let truncated = (0..whole.len()).step_by(64).map(|length| whole[..length].to_vec());
    let flipped: Vec<_> = (0..1_000)
        .map(|_| {
            let mut bytes = whole.clone();
            bytes[random.random_range(0..whole.len())] ^= 1 << random.random_range(0..8);
            bytes
        })
        .collect();
    for (case, bytes) in truncated.chain(flipped).enumerate() {
        let (_dir, path) = place();
        fs::write(&path, bytes).unwrap();
        let after = limiter(RULES);
        let restored = restore(&path, &after, NOW);
        let damage = restored.damage.unwrap_or_else(|| panic!("case {case}: the damage is not noticed"));
        assert!(damage.contains("set aside as"), "case {case}: {damage}");
        assert!(!path.exists(), "case {case}");
        for ((found, expected), fresh) in all(&after, NOW).iter().zip(&expected).zip(&fresh) {
            assert!(found == expected || found == fresh, "case {case}: {found:?}, expected {expected:?} or {fresh:?}");
        }
    }
}

#[test]
fn a_foreign_file_and_one_of_a_later_version_are_set_aside() {
    let later = {
        let mut head = b"TGCOUNTS".to_vec();
        head.extend_from_slice(&2_u32.to_le_bytes());
        head.extend_from_slice(&0_u64.to_le_bytes());
        let sum = crc32fast::hash(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        head
    };
    for (bytes, expected) in [
        (b"SQLite format 3 and then more than enough bytes".to_vec(), "it is not a file of counters"),
        (later, "version 2 of the format, but this program supports 1"),
    ] {
        let (_dir, path) = place();
        fs::write(&path, bytes).unwrap();
        let damage = restore(&path, &limiter(RULES), NOW).damage.unwrap();
        assert!(damage.contains(expected), "{damage}");
    }
}
