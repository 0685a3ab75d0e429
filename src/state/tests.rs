//! What is written is read, whatever a crash leaves; what is damaged is set aside, and a counter is never other than it was.

use std::collections::HashSet;
use std::fs;
use std::io::Write;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use smallvec::smallvec;

use super::files::{Files, Name};
use super::model::Model;
use super::read::restore;
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

fn limiter(rules: &str) -> Arc<Limiter> {
    let limiter = Limiter::new(Settings::default());
    let file = SourceFile { name: "rules.yaml".into(), text: rules.into() };
    limiter.replace_rules(NOW, load(&[file], LoadOptions::default()).unwrap());
    Arc::new(limiter)
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
fn used(random: &mut SmallRng) -> Arc<Limiter> {
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

/// A flusher of what was restored.
fn flusher<F: Files + Clone>(files: &F, limiter: &Arc<Limiter>, restored: &Restored) -> Flusher<F> {
    Flusher::begin(files.clone(), Arc::clone(limiter), Nanos::ZERO, restored).unwrap()
}

/// Writes all counters, as an orderly stop does.
fn write<F: Files + Clone>(files: &F, limiter: &Arc<Limiter>) -> Flushed {
    flusher(files, limiter, &Restored::default()).finish(NOW).unwrap()
}

#[test]
fn every_counter_goes_on_where_it_was() {
    for seed in 0..20 {
        let files = Model::default();
        let before = used(&mut SmallRng::seed_from_u64(seed));
        let written = write(&files, &before);
        assert_eq!(written.counters, before.store().occupancy().counters as u64, "seed {seed}");
        let after = limiter(RULES);
        let restored = restore(&files, &after, NOW);
        assert_eq!((restored.counters, restored.dropped), (written.counters, 0), "seed {seed}");
        for later in [1, 3_000, 8_999, 9_001, 40_000] {
            let now = NOW.plus(Nanos::from_secs(later));
            assert_eq!(all(&after, now), all(&before, now), "seed {seed}, {later} s later");
        }
    }
}

/// More counters than a block of a journal has, of limits in turns, that are written by one flush.
#[test]
fn counters_of_many_blocks_go_on_where_they_were() {
    let (files, before) = (Model::default(), limiter(RULES));
    let mut flusher = flusher(&files, &before, &Restored::default());
    let value = |n: u64| format!("value-{n}");
    for n in 0..9_000 {
        left(&before, NOW, KEYS[(n % 7) as usize], &value(n), 1 + n % 80);
    }
    let written = flusher.flush(NOW, || false, || {}).unwrap();
    assert!(written.counters > 9_000 && written.bytes > 256 << 10, "one list has two counters: {written:?}");
    let after = limiter(RULES);
    let restored = restore(&files, &after, NOW);
    assert_eq!((restored.counters, restored.dropped, &*restored.damage), (written.counters, 0, &[][..]));
    for n in 0..9_000 {
        let key = KEYS[(n % 7) as usize];
        assert_eq!(left(&after, NOW, key, &value(n), 0), left(&before, NOW, key, &value(n), 0), "{key}, {n}");
    }
}

/// Flushes that have no time to spare end a snapshot all the same.
#[test]
fn a_snapshot_takes_a_bounded_number_of_flushes() {
    let (files, before) = (Model::default(), limiter(RULES));
    let mut flusher = flusher(&files, &before, &Restored::default());
    flusher.begin_snapshot_now();
    let most = before.store().export_steps() / flusher::LEAST_STEPS;
    for nth in 1..=most {
        left(&before, NOW, "fixed", "a", 1);
        flusher.flush(NOW, || false, || {}).unwrap();
        let is_there = files.list().unwrap().contains(&"counters.2.snapshot".to_owned());
        assert_eq!(is_there, nth == most, "after {nth} flushes");
    }
}

/// Rules that changed meanwhile follow the rules of a reload: another number keeps the count, a removed rule's counters go.
#[test]
fn changed_rules_find_their_counters() {
    let files = Model::default();
    let before = limiter(RULES);
    left(&before, NOW, "fixed", "a", 10);
    left(&before, NOW, "log", "a", 10);
    write(&files, &before);
    let after = limiter("domain: api\ndescriptors: [{key: fixed, rate_limit: {unit: day, requests_per_unit: 15}}]\n");
    let restored = restore(&files, &after, NOW);
    assert_eq!((restored.counters, restored.dropped, &*restored.damage), (1, 1, &[][..]));
    assert_eq!(left(&after, NOW, "fixed", "a", 0).0, 5);
}

/// What is spent at the start is dropped; a clock that was set back does not open a window again, of any algorithm.
#[test]
fn a_clock_that_was_set_opens_no_window() {
    let files = Model::default();
    let before = limiter(RULES);
    for key in KEYS {
        left(&before, NOW, key, "a", if key == "list" { 90 } else { 100 });
    }
    write(&files, &before);
    let later = limiter(RULES);
    let restored = restore(&files, &later, NOW.plus(Nanos::from_secs(2 * 365 * 86_400)));
    assert_eq!((restored.counters, restored.dropped), (0, 8));
    for back in [1, 3_600, 86_400, 400 * 86_400] {
        let now = NOW.minus(Nanos::from_secs(back));
        let earlier = limiter(RULES);
        assert_eq!(restore(&files, &earlier, now).counters, 8);
        for key in KEYS {
            assert_eq!(left(&earlier, now, key, "a", 1).0, 0, "{key}, {back} s back");
        }
    }
    assert!(clock_note(NOW, NOW.minus(Nanos::from_secs(5))).unwrap().contains("behind"));
    assert!(clock_note(NOW, NOW.plus(Nanos::from_secs(365 * 86_400))).unwrap().contains(" ago by the clock"));
    assert_eq!(clock_note(NOW, NOW.plus(Nanos::from_secs(60))), None);
}

#[test]
fn no_file_is_no_damage() {
    let restored = restore(&Model::default(), &limiter(RULES), NOW);
    assert_eq!(restored, Restored::default());
}

/// What is fresh again is written as such: a crash does not bring back what an operator has reset, or a ban that was lifted.
#[test]
fn a_reset_and_a_lifted_ban_survive_a_crash() {
    for with_snapshot in [false, true] {
        let (files, before) = (Model::default(), limiter(RULES));
        let mut flusher = flusher(&files, &before, &Restored::default());
        for key in ["fixed", "log"] {
            left(&before, NOW, key, "a", 50);
        }
        before.ban_counter("api.bucket", &[("bucket".into(), "a".into())], NOW.plus(Nanos::from_secs(60))).unwrap();
        flusher.flush(NOW, || true, || {}).unwrap();
        if with_snapshot {
            flusher.begin_snapshot_now();
            flusher.flush(NOW, || true, || {}).unwrap();
        }
        for path in ["api.fixed", "api.log"] {
            assert_eq!(before.reset_counters(NOW, path, &[], false, HashSet::new()), 1);
        }
        assert_eq!(before.reset_counters(NOW, "api.bucket", &[], true, HashSet::new()), 1);
        // A sweep before the flush must not take the only trace of it.
        before.store().sweep_all(NOW);
        flusher.flush(NOW, || true, || {}).unwrap();
        let after = limiter(RULES);
        let restored = restore(&files, &after, NOW);
        assert_eq!(restored.counters, 0, "snapshot: {with_snapshot}");
        for key in ["fixed", "log", "bucket"] {
            assert_eq!(left(&after, NOW, key, "a", 0).0, 100, "{key}, snapshot: {with_snapshot}");
        }
        before.store().sweep_all(NOW);
        assert_eq!(before.store().occupancy().counters, 0, "what was written is swept");
    }
}

/// What ends before it could be lost is not written at all.
#[test]
fn short_windows_are_not_written() {
    let rules = "domain: api\ndescriptors: [{key: short, rate_limit: {unit: second, requests_per_unit: 5}}]\n";
    let (files, before) = (Model::default(), limiter(rules));
    let horizon = Nanos::from_secs(1);
    let mut flusher = Flusher::begin(files, Arc::clone(&before), horizon, &Restored::default()).unwrap();
    left(&before, NOW, "short", "a", 1);
    assert_eq!(flusher.flush(NOW, || true, || {}).unwrap(), Flushed::default());
}

/// Random use, flushes, snapshots, crashes and failures of the disk: after each crash every counter is as it was at one moment between
/// the last completed flush and the crash.
#[test]
fn a_crash_loses_nothing_that_was_flushed() {
    let seeds = std::env::var("STATE_SEEDS").map_or(25, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        crashes(seed);
    }
}

fn crashes(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut files = Model::default();
    let mut now = NOW;
    // Of each counter what it was at each moment since the last completed flush.
    let observe = |limiter: &Arc<Limiter>, now: Timestamp| all(limiter, now);
    let mut current = limiter(RULES);
    for life in 0..6 {
        let restored = restore(&files, &current, now);
        assert_eq!(restored.damage, [""; 0], "seed {seed}, life {life}");
        let mut flusher = match Flusher::begin(files.clone(), Arc::clone(&current), Nanos::ZERO, &restored) {
            Ok(flusher) => flusher,
            Err(error) => panic!("seed {seed}, life {life}: {error}"),
        };
        let mut possible: Vec<Vec<(u64, Nanos)>> = vec![observe(&current, now)];
        let mut history = vec![possible[0].clone()];
        for _ in 0..random.random_range(1..40) {
            match random.random_range(0..12) {
                0..6 => {
                    let key = KEYS[random.random_range(0..KEYS.len())];
                    let value = format!("value-{}", random.random_range(0..20));
                    left(&current, now, key, &value, random.random_range(1..20));
                }
                6 => {
                    let path = ["api.fixed", "api.log", "api.bucket"][random.random_range(0..3)];
                    current.reset_counters(now, path, &[], random.random(), HashSet::new());
                }
                7 => {
                    let value = format!("value-{}", random.random_range(0..20));
                    let until = now.plus(Nanos::from_secs(random.random_range(1..10_000)));
                    current.ban_counter("api.fixed", &[("fixed".into(), value)], until).unwrap();
                }
                8 => flusher.begin_snapshot_now(),
                9 => files.fail_after(random.random::<bool>().then(|| random.random_range(0..8))),
                _ => {
                    let mut steps = random.random_range(0..2_000);
                    let has_time = || {
                        steps -= 1;
                        steps > 0
                    };
                    if flusher.flush(now, has_time, || {}).is_ok_and(|flushed| !flushed.is_behind) {
                        history.clear();
                    }
                    current.store().sweep_all(now);
                }
            }
            history.push(observe(&current, now));
        }
        possible = history;
        files.fail_after(None);
        files = files.crashed(&mut random);
        let after = limiter(RULES);
        let probe = files.clone();
        restore(&probe, &after, now);
        for (nth, found) in observe(&after, now).iter().enumerate() {
            assert!(
                possible.iter().any(|moment| moment[nth] == *found),
                "seed {seed}, life {life}: counter {nth} is {found:?}, but was {:?}",
                possible.iter().map(|moment| moment[nth]).collect::<Vec<_>>()
            );
        }
        current = limiter(RULES);
        now = now.plus(Nanos::from_secs(random.random_range(0..100)));
    }
}

/// Each damage is noticed, and no counter is other than it was at one of the flushes.
#[test]
fn damage_is_noticed_and_nothing_is_wrong() {
    let mut random = SmallRng::seed_from_u64(12);
    let dir = tempfile::tempdir().unwrap();
    let files = Directory::new(dir.path());
    let before = used(&mut random);
    let mut flusher = flusher(&files, &before, &Restored::default());
    flusher.begin_snapshot_now();
    flusher.flush(NOW, || true, || {}).unwrap();
    let mut moments = vec![all(&limiter(RULES), NOW), all(&before, NOW)];
    for round in 0..3 {
        for key in KEYS {
            left(&before, NOW, key, &format!("value-{round}"), 2);
        }
        flusher.flush(NOW, || true, || {}).unwrap();
        moments.push(all(&before, NOW));
    }
    drop(flusher);
    let names: Vec<String> = files.list().unwrap().into_iter().filter(|name| Name::parse(name).is_some()).collect();
    assert_eq!(names.len(), 2, "a snapshot and a journal: {names:?}");
    for name in &names {
        let whole = fs::read(dir.path().join(name)).unwrap();
        let truncated = (0..whole.len()).step_by(64).map(|length| whole[..length].to_vec());
        let flipped: Vec<_> = (0..1_000)
            .map(|_| {
                let mut bytes = whole.clone();
                bytes[random.random_range(0..whole.len())] ^= 1 << random.random_range(0..8);
                bytes
            })
            .collect();
        for (case, bytes) in truncated.chain(flipped).enumerate() {
            let copy = tempfile::tempdir().unwrap();
            for other in &names {
                fs::copy(dir.path().join(other), copy.path().join(other)).unwrap();
            }
            fs::write(copy.path().join(name), &bytes).unwrap();
            let after = limiter(RULES);
            let restored = restore(&Directory::new(copy.path()), &after, NOW);
            // A journal that ends with a whole block is one that was written so.
            let is_whole = name.ends_with("journal") && ends_with_a_block(&whole, bytes.len());
            assert!(is_whole || restored.torn > 0 || !restored.damage.is_empty(), "{name}, case {case}: not noticed");
            for damage in &restored.damage {
                assert!(
                    damage.contains("set aside as") && !copy.path().join(name).exists(),
                    "{name}, case {case}: {damage}"
                );
            }
            for (nth, found) in all(&after, NOW).iter().enumerate() {
                assert!(moments.iter().any(|moment| moment[nth] == *found), "{name}, case {case}: {found:?}");
            }
        }
    }
}

/// Whether the file, cut to this length, ends where a block does.
fn ends_with_a_block(whole: &[u8], length: usize) -> bool {
    let mut end = 24;
    while end < length {
        let block = whole[end..end + 4].try_into().map(u32::from_le_bytes).unwrap();
        end += 20 + block as usize;
    }
    end == length
}

/// As a program wrote it that knew no later version: seven hits of `fixed`, two of another value, a ban of `first`, five of `sliding`, ten
/// of `log` at two instants, nine of `bucket` and three of `list`.
#[test]
fn a_file_of_version_3_is_read() {
    let (files, after, now) = (Model::default(), limiter(RULES), Timestamp::from_ns(1_795_868_405_000_000_000));
    files.create("counters.2.snapshot").unwrap().write_all(include_bytes!("version_3.snapshot")).unwrap();
    let restored = restore(&files, &after, now);
    assert_eq!((restored.counters, restored.dropped, &*restored.damage), (8, 0, &[][..]));
    let cases = [("fixed", 93), ("first", 0), ("sliding", 95), ("log", 90), ("bucket", 91), ("list", 87)];
    for (key, expected) in cases {
        assert_eq!(left(&after, now, key, "a", 0).0, expected, "{key}");
    }
    assert_eq!(left(&after, now, "fixed", "b", 0).0, 98);
    // It goes on in the format of today.
    assert_eq!(flusher(&files, &after, &restored).finish(now).unwrap().counters, 8);
    let later = limiter(RULES);
    assert_eq!(restore(&files, &later, now).counters, 8);
    assert_eq!(all(&later, now), all(&after, now));
}

/// No file of version 3 has a cell without an end of its own.
#[test]
fn an_end_is_left_out_in_no_record_of_version_3() {
    let (limits, end) = (limiter(RULES).limits(), NOW.as_ns().to_le_bytes());
    // The limit, with the fingerprint of an override; an empty key; the kind, the end and the state of a cell.
    let first = |head: &[u8]| [head, &[0; 16], &[0]].concat();
    let old = [first(&[0]), vec![0], end.to_vec(), vec![7], vec![0, 0, 2, 7]].concat();
    let new = [first(&[0]), end.to_vec(), vec![7], vec![2, 0, 7]].concat();
    for (version, bytes, expected) in [(3, old, [true, false]), (4, new, [true, true])] {
        let (mut records, mut taken) = (&bytes[..], record::Taken::new(version));
        let read = expected.map(|_| record::take(&mut records, &mut taken, &limits).is_some());
        assert_eq!(read, expected, "version {version}");
    }
}

#[test]
fn a_foreign_file_and_one_of_a_later_version_are_set_aside() {
    let later = {
        let mut head = b"TGCOUNTS".to_vec();
        head.extend_from_slice(&9_u32.to_le_bytes());
        head.extend_from_slice(&0_u64.to_le_bytes());
        let sum = crc32fast::hash(&head);
        head.extend_from_slice(&sum.to_le_bytes());
        head
    };
    for (bytes, expected) in [
        (b"SQLite format 3 and then more than enough bytes".to_vec(), "it is not a file of counters"),
        (later, "version 9 of the format, but this program supports 3 to 4"),
    ] {
        for name in ["counters.3.snapshot", "counters.3.journal"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), &bytes).unwrap();
            let restored = restore(&Directory::new(dir.path()), &limiter(RULES), NOW);
            assert!(restored.damage[0].contains(expected), "{:?}", restored.damage);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("counters.7.snapshot")).unwrap();
    let restored = restore(&Directory::new(dir.path()), &limiter(RULES), NOW);
    assert!(restored.damage[0].contains("not a regular file"), "{:?}", restored.damage);
}

#[test]
fn flushes_begin_at_an_even_pace_and_rarely_while_the_disk_fails() {
    let ms = Duration::from_millis;
    let mut waits = Waits::new(ms(80));
    assert_eq!(waits.next(), ms(80));
    for (took, wait) in [(ms(0), ms(80)), (ms(30), ms(50)), (ms(75), ms(10)), (ms(500), ms(10))] {
        waits.note(true, took);
        assert_eq!(waits.next(), wait, "after a flush of {took:?}");
    }
    let failing: Vec<_> = (0..9)
        .map(|_| {
            waits.note(false, ms(1));
            waits.next()
        })
        .collect();
    assert_eq!(failing[..3], [ms(160), ms(320), ms(640)]);
    assert_eq!(failing[8], LONGEST_WAIT);
    waits.note(true, ms(1));
    assert_eq!(waits.next(), ms(79));
}
