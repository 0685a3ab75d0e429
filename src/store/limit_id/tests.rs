//! Ids depend on content, not on order, even with collisions.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::engine::Starts;
use crate::store::{LevelDescription, LimitKind, RuleDescription};
use crate::units::Nanos;

fn limit(domain: &str, levels: &[(&str, &str)], kind: LimitKind, ordinal: u32) -> LimitDescription {
    let level = |&(key, value): &(&str, &str)| LevelDescription {
        key: key.into(),
        value: value.into(),
        key_varies: key.contains('*'),
        value_varies: value.is_empty(),
    };
    let rule = RuleDescription { domain: domain.into(), levels: levels.iter().map(level).collect() };
    LimitDescription { rule: Arc::new(rule), kind, ordinal }
}

fn numbered(count: u32) -> Vec<LimitDescription> {
    (1..=count).map(|ordinal| limit("d", &[("k", "")], LimitKind::TokenBucket, ordinal)).collect()
}

fn no_counters() -> HashSet<LimitId> {
    HashSet::new()
}

fn assert_two_way(table: &LimitTable, limits: &[LimitDescription], ids: &[LimitId]) {
    assert_eq!(ids.len(), limits.len());
    for (limit, id) in limits.iter().zip(ids) {
        assert_ne!(*id, LimitId::OVERRIDE);
        assert_eq!(table.limit(*id), Some(limit));
        assert_eq!(table.fingerprint(*id), Some(limit.fingerprint()));
        assert_eq!(table.id(limit.fingerprint()), Some(*id));
    }
}

/// Descriptions that differ in one property each, and some whose texts would be the same if they were joined.
fn similar() -> Vec<LimitDescription> {
    let hour = Nanos::from_secs(3_600);
    let clock = LimitKind::FixedWindow { starts: Starts::Clock, window: hour };
    let open = limit("d", &[("a", "")], clock, 1);
    let fixed = |key_varies, value_varies| {
        let level = LevelDescription { key: "a".into(), value: "b".into(), key_varies, value_varies };
        let rule = Arc::new(RuleDescription { domain: "d".into(), levels: [level].into() });
        LimitDescription { rule, ..open.clone() }
    };
    vec![
        open.clone(),
        LimitDescription { ordinal: 2, ..open.clone() },
        LimitDescription {
            kind: LimitKind::FixedWindow { starts: Starts::FirstRequest, window: hour },
            ..open.clone()
        },
        LimitDescription {
            kind: LimitKind::FixedWindow { starts: Starts::Clock, window: Nanos::SECOND },
            ..open.clone()
        },
        LimitDescription { kind: LimitKind::SlidingWindow(hour), ..open.clone() },
        LimitDescription { kind: LimitKind::SlidingLog(hour), ..open.clone() },
        LimitDescription { kind: LimitKind::TokenBucket, ..open.clone() },
        fixed(false, false),
        fixed(true, false),
        fixed(false, true),
        fixed(true, true),
        limit("", &[("da", "")], clock, 1),
        limit("da", &[("", "")], clock, 1),
        limit("d", &[], clock, 1),
        limit("d", &[("", "a")], clock, 1),
        limit("d", &[("a", ""), ("", "")], clock, 1),
        limit("d", &[("a", "b_c")], clock, 1),
        limit("d", &[("a_b", "c")], clock, 1),
        limit("d", &[("a", "b"), ("c", "")], clock, 1),
    ]
}

#[test]
fn whatever_differs_gives_another_id_and_another_fingerprint() {
    let (limits, limit_ids) = (similar(), LimitIds::default());
    let ids = limit_ids.assign(&limits, no_counters);
    assert_two_way(&limit_ids.table(), &limits, &ids);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), limits.len());
    assert_eq!(limits.iter().map(LimitDescription::fingerprint).collect::<HashSet<_>>().len(), limits.len());
    let rules: HashSet<_> = limits.iter().map(|limit| limit.rule.fingerprint()).collect();
    assert!(!rules.contains(&Fingerprint::OVERRIDE));
    assert!(limits.iter().all(|limit| !rules.contains(&limit.fingerprint())));
}

/// Stored state and other processes depend on it.
#[test]
fn the_encoding_is_a_format() {
    let kind = LimitKind::FixedWindow { starts: Starts::Clock, window: Nanos::SECOND };
    let limit = limit("api", &[("partner", ""), ("endpoint", "/pay")], kind, 1);
    let hex = |fingerprint: Fingerprint| u128::from_be_bytes(fingerprint.to_bytes());
    assert_eq!(format!("{:032x}", hex(limit.fingerprint())), "a8278db1bdf3a387fc92195b21a5f726");
    assert_eq!(format!("{:032x}", hex(limit.rule.fingerprint())), "391219ffb9ad51af32fb9bd47e502e55");
    assert_eq!(Fingerprint::from_bytes(limit.fingerprint().to_bytes()), limit.fingerprint());
    let ids = LimitIds::default().assign(&[limit], no_counters);
    assert_eq!(format!("{:08x}", ids[0].number().swap_bytes()), "a8278db1");
}

#[test]
fn removed_limits_keep_their_ids_for_as_long_as_counters_may_have_them() {
    let (limit_ids, most) = (LimitIds::default(), u32::try_from(MAX_REMOVED).unwrap());
    let many = numbered(most + 2);
    let ids = limit_ids.assign(&many, no_counters);
    let never = || -> HashSet<LimitId> { panic!("there is no reason to ask for the limits in use") };
    limit_ids.assign(&[], never);
    assert_two_way(&limit_ids.table(), &many, &ids);
    // In the third load all of them are neither in force nor just replaced.
    let kept = [ids[3], ids[5]];
    limit_ids.assign(&many[..1], || kept.into());
    let table = limit_ids.table();
    assert_eq!(table.by_id.len(), 2 + 1, "the limit in force and those with counters");
    assert_eq!(table.by_id.len(), table.by_fingerprint.len());
    assert_two_way(&table, &[many[0].clone(), many[3].clone(), many[5].clone()], &[ids[0], ids[3], ids[5]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Ids of 5, 8 or 32 bits: with few bits nearly all limits collide.
    #[test]
    fn ids_do_not_depend_on_the_order_of_loading(
        count in 1_u32..30, mask in select(vec![0x1f, 0xff, u32::MAX]),
        shuffled in Just((0..30_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let limits = numbered(count);
        let order: Vec<_> = shuffled.into_iter().filter(|place| *place < limits.len()).collect();
        let others: Vec<_> = order.iter().map(|place| limits[*place].clone()).collect();
        let ids = LimitIds::with_mask(mask).assign(&limits, no_counters);
        let other_ids = LimitIds::with_mask(mask).assign(&others, no_counters);
        prop_assert_eq!(order.iter().map(|place| ids[*place]).collect::<Vec<_>>(), other_ids);
    }

    /// However often limits are added and removed, and however many collide: two never share an id, and each keeps its own.
    #[test]
    fn two_limits_never_share_an_id(
        loads in prop::collection::vec(subsequence(numbered(30), 0..=30).prop_shuffle(), 1..8),
        mask in select(vec![0x1f, 0xff, u32::MAX]),
    ) {
        let limit_ids = LimitIds::with_mask(mask);
        let mut given: HashMap<LimitId, Fingerprint> = HashMap::new();
        for limits in loads {
            let ids = limit_ids.assign(&limits, no_counters);
            assert_two_way(&limit_ids.table(), &limits, &ids);
            for (limit, id) in limits.iter().zip(ids) {
                let fingerprint = limit.fingerprint();
                prop_assert_eq!(*given.entry(id).or_insert(fingerprint), fingerprint);
            }
        }
        let limits: HashSet<_> = given.values().collect();
        prop_assert_eq!(limits.len(), given.len());
    }
}
