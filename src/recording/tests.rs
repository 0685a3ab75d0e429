//! Recordings of checks that are made here: what is taken, in which order, and what is lost.

use std::num::NonZeroU32;

use prost::Message;

use super::*;
use crate::api::proto::envoy::extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor};
use crate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use crate::api::rls;
use crate::rules::{LoadOptions, RuleSet, SourceFile, load};
use crate::units::Nanos;

fn message(domain: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let entry = |&(key, value): &(&str, &str)| rate_limit_descriptor::Entry { key: key.into(), value: value.into() };
    let entries = entries.iter().map(entry).collect();
    let descriptors = vec![RateLimitDescriptor { entries, ..Default::default() }];
    RateLimitRequest { domain: domain.into(), descriptors, hits_addend: 3 }.encode_to_vec()
}

const fn at(ms: u64) -> Timestamp {
    Timestamp::from_ns(ms * 1_000_000)
}

/// Offers a check of a user in domain `api`, with its number as timeout.
fn offer(recordings: &Recordings, worker: usize, ms: u64, user: &str, number: u64) {
    let message = message("api", &[("user", user)]);
    let check = Check { timeout: Some(Nanos::from_ns(number)), ..rls::read(&message).unwrap() };
    recordings.offer(WorkerSlot(worker), at(ms), &check, &message);
}

/// Time and number of each check.
fn seen(taken: &[RecordedCheck]) -> Vec<(u64, u64)> {
    taken.iter().map(|check| (check.at.as_ns() / 1_000_000, check.timeout.unwrap().as_ns())).collect()
}

#[test]
fn checks_of_all_workers_come_in_the_order_of_time() {
    let recordings = Arc::new(Recordings::new(2));
    assert!(!recordings.is_on());
    let mut reader = recordings.start(Selection::everything()).unwrap();
    assert!(recordings.is_on());
    for (worker, ms, number) in [(1, 20, 3), (0, 10, 1), (0, 10, 2), (0, 30, 4), (1, 400, 6), (1, 400, 7)] {
        offer(&recordings, worker, ms, "ann", number);
    }
    // Checks are kept until none that came earlier can follow.
    assert_eq!(seen(&reader.poll(at(270))), [(10, 1), (10, 2), (20, 3)]);
    offer(&recordings, 0, 300, "bob", 5);
    let rest = reader.poll(at(570));
    assert_eq!(seen(&rest), [(30, 4), (300, 5)]);
    let check = rest[1].check().unwrap();
    assert_eq!((&*check.domain, check.hits_addend, &*check.descriptors[0].entries[0].value), ("api", 3, "bob"));
    reader.stop();
    assert!(!recordings.is_on());
    offer(&recordings, 0, 500, "ann", 8);
    assert_eq!(seen(&reader.poll(at(0))), [(400, 6), (400, 7)]);
    assert_eq!(reader.counts(), RecordingCounts { recorded: 7, lost: 0, late: 0 });
    assert_eq!(recordings.totals(), (7, 0));
}

#[test]
fn a_late_check_does_not_go_back_in_time() {
    let recordings = Arc::new(Recordings::new(2));
    let mut reader = recordings.start(Selection::everything()).unwrap();
    offer(&recordings, 0, 100, "ann", 1);
    assert_eq!(seen(&reader.poll(at(1_000))), [(100, 1)]);
    offer(&recordings, 1, 90, "ann", 2);
    offer(&recordings, 0, 110, "ann", 3);
    assert_eq!(seen(&reader.poll(at(1_000))), [(100, 2), (110, 3)]);
    assert_eq!(reader.counts().late, 1);
}

#[test]
fn what_does_not_fit_is_lost_and_counted() {
    let recordings = Arc::new(Recordings::new(1));
    let mut reader = recordings.start(Selection::everything()).unwrap();
    let long = "x".repeat(60_000);
    (0..20).for_each(|number| offer(&recordings, 0, 1, &long, number));
    let kept = reader.poll(at(1_000)).len();
    assert!((15..20).contains(&kept), "{kept}");
    assert_eq!(reader.counts(), RecordingCounts { recorded: kept as u64, lost: 20 - kept as u64, late: 0 });
    // The buffer has room again; a message above the bound never has.
    offer(&recordings, 0, 2, "ann", 1);
    offer(&recordings, 0, 2, &"x".repeat(70_000), 2);
    assert_eq!(seen(&reader.poll(at(1_000))), [(2, 1)]);
    let lost = 20 - kept as u64 + 1;
    assert_eq!(reader.counts().lost, lost);
    drop(reader);
    assert_eq!((recordings.is_on(), recordings.totals()), (false, (kept as u64 + 1, lost)));
}

#[test]
fn a_bounded_number_of_recordings() {
    let recordings = Arc::new(Recordings::new(1));
    let mut readers: Vec<_> = (0..MAX_RECORDINGS).map(|_| recordings.start(Selection::everything()).unwrap()).collect();
    assert!(recordings.start(Selection::everything()).is_err());
    readers.pop();
    let mut other = recordings.start(Selection { domains: vec!["other".into()], ..Selection::everything() }).unwrap();
    offer(&recordings, 0, 1, "ann", 1);
    assert_eq!((readers[0].poll(at(1_000)).len(), other.poll(at(1_000)).len()), (1, 0));
}

#[test]
fn samples_of_checks_and_of_values() {
    let taken = |selection: Selection, users: u64, times: u64| {
        let recordings = Arc::new(Recordings::new(1));
        let mut reader = recordings.start(selection).unwrap();
        let mut taken = vec![0; usize::try_from(users).unwrap()];
        for _ in 0..times {
            (0..users).for_each(|user| offer(&recordings, 0, 1, &user.to_string(), user));
            let checks = reader.poll(at(1_000));
            for check in &checks {
                taken[usize::try_from(check.timeout.unwrap().as_ns()).unwrap()] += 1;
            }
        }
        assert_eq!(reader.counts().lost, 0);
        taken
    };
    let one_in = |one_in| Selection { one_in: NonZeroU32::new(one_in).unwrap(), ..Selection::everything() };
    let checks = taken(one_in(10), 100, 100);
    let all: u64 = checks.iter().sum();
    assert!((800..1_200).contains(&all), "{all} of 10,000 at 1/10");
    let values = taken(Selection { sample_by: Some("user".into()), ..one_in(10) }, 1_000, 3);
    assert!(values.iter().all(|times| [0, 3].contains(times)), "each value with all of its checks: {values:?}");
    let chosen = values.iter().filter(|times| **times > 0).count();
    assert!((50..200).contains(&chosen), "{chosen} of 1,000 values at 1/10");
    let other_key = taken(Selection { sample_by: Some("tenant".into()), ..one_in(1) }, 10, 1);
    assert_eq!(other_key.iter().sum::<u64>(), 0);
}

fn rules(text: &str) -> RuleSet {
    load(&[SourceFile { name: "rules.yaml".into(), text: text.into() }], LoadOptions::default()).unwrap()
}

const RULES: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: user, value: free}
- key: partner
  value: acme
  descriptors: [{key: path, value: /pay/*, rate_limit: {unit: minute, requests_per_unit: 3}}]
";

#[test]
fn hashed_values_match_the_same_rules_and_say_nothing() {
    let (rules, hashes) = (rules(RULES), ValueHashes::new().unwrap());
    let hidden = |entries: &[(&str, &str)]| {
        let message = message("api", entries);
        let mut check = rls::read(&message).unwrap();
        assert_eq!(hashes.hide(&mut check, Some(&rules)), 0, "{entries:?}");
        check.descriptors[0].entries.iter().map(|entry| entry.value.to_string()).collect::<Vec<_>>()
    };
    let [ann, bob] = ["ann", "bob"].map(|user| hidden(&[("user", user)])[0].clone());
    assert_eq!((ann.len(), &ann[..1]), (25, "~"));
    assert_ne!(ann, bob);
    assert_eq!(hidden(&[("user", "ann")]), [&*ann], "the same value has the same hash");
    assert_eq!(hidden(&[("user", "free")]), ["free"], "the rules name it");
    assert_eq!(hidden(&[("partner", "acme"), ("path", "/pay/ann")])[0], "acme");
    let path = &hidden(&[("partner", "acme"), ("path", "/pay/ann")])[1];
    assert!(path.starts_with("/pay/~") && path.len() == 30, "{path}");
    assert_eq!(hidden(&[("partner", "other"), ("path", "ann")])[1], ann, "beyond what matches, too");
    assert_eq!(hidden(&[("nothing", "ann")]), std::slice::from_ref(&ann));
    let other = ValueHashes::new().unwrap();
    let message = message("unknown", &[("user", "ann")]);
    let mut check = rls::read(&message).unwrap();
    other.hide(&mut check, Some(&rules));
    assert_ne!(check.descriptors[0].entries[0].value, ann, "another recording, another hash");
    assert_eq!(format!("{other:?}"), "ValueHashes { .. }");
}
