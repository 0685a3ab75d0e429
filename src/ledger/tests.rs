//! Replicas that merge in any order end with the same ledger, whatever was changed meanwhile.

use proptest::prelude::*;

use super::*;

/// Events of a run take no longer. Records that end are known for longer than that: longer than a replica is away.
const LONGEST_RUN: u64 = 80 * 50;
const AT: u64 = 1_700_000_000_000_000;

fn at(us: u64) -> Timestamp {
    Timestamp::from_ns((AT + us) * 1_000)
}

fn change(id: &str, is: Option<&str>, keep: Option<u64>) -> Change {
    Change {
        id: format!(r#"["setting","{id}"]"#),
        is: is.map(|is| format!("{is:?}")),
        note: "{}".to_owned(),
        keep: keep.map(at),
    }
}

/// What the engine has of each part, and replicas that look at it when they please.
struct World {
    replicas: Vec<Ledger>,
    engine: Vec<Option<String>>,
    now: u64,
}

impl World {
    fn new(replicas: usize) -> Self {
        Self { replicas: vec![Ledger::default(); replicas], engine: vec![None; PARTS], now: 0 }
    }

    fn record(&mut self, replica: usize, change: Change, skew: u64) -> Record {
        self.replicas[replica].record(change, &format!("r{replica}"), at(self.now + skew)).unwrap()
    }

    /// One replica reads a part, and writes what is missing there, unless another one has written meanwhile.
    fn synchronize(&mut self, replica: usize, part: usize, is_interrupted: bool) {
        let merged = self.replicas[replica].merge(part, self.engine[part].as_deref(), at(self.now)).unwrap();
        assert_eq!(merged.unreadable, 0);
        if let Some(text) = merged.write.filter(|_| !is_interrupted) {
            self.engine[part] = Some(text);
        }
    }

    fn settle(&mut self) {
        for _ in 0..2 {
            for replica in 0..self.replicas.len() {
                (0..PARTS).for_each(|part| self.synchronize(replica, part, false));
            }
        }
    }

    fn seen(&self, replica: usize) -> Vec<&str> {
        self.replicas[replica].records().map(Record::text).collect()
    }
}

/// What happens in a run.
#[derive(Clone, Debug)]
enum Event {
    Change {
        replica: usize,
        id: u8,
        value: Option<u8>,
        keep: Option<u64>,
        skew: u64,
    },
    Synchronize {
        replica: usize,
        id: u8,
        is_interrupted: bool,
    },
    /// The engine forgets all of a part, or goes back to what it had.
    Forget {
        id: u8,
    },
    /// A replica starts again, with what it knew or without it.
    Restart {
        replica: usize,
        keeps: bool,
    },
    Pass {
        us: u64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let change = (0..3_usize, 0..6_u8, any::<Option<u8>>(), prop::option::of(LONGEST_RUN..9_999), 0..30_u64)
        .prop_map(|(replica, id, value, keep, skew)| Event::Change { replica, id, value, keep, skew });
    let synchronize = (0..3_usize, 0..6_u8, any::<bool>())
        .prop_map(|(replica, id, is_interrupted)| Event::Synchronize { replica, id, is_interrupted });
    let forget = (0..6_u8).prop_map(|id| Event::Forget { id });
    let restart = (0..3_usize, any::<bool>()).prop_map(|(replica, keeps)| Event::Restart { replica, keeps });
    let pass = (0..50_u64).prop_map(|us| Event::Pass { us });
    prop::collection::vec(prop_oneof![4 => change, 6 => synchronize, 1 => forget, 1 => restart, 2 => pass], 0..80)
}

proptest! {
    #[test]
    fn replicas_end_equal_and_the_last_change_of_each_thing_counts(events in events()) {
        let mut world = World::new(3);
        let name = |id: u8| format!(r#"["setting","{id}"]"#);
        for event in events {
            match event {
                Event::Change { replica, id, value, keep, skew } => {
                    let value = value.map(|value| value.to_string());
                    let keep = keep.map(|keep| world.now + keep);
                    let made = world.record(replica, change(&id.to_string(), value.as_deref(), keep), skew);
                    // It counts at once where it was made.
                    prop_assert_eq!(world.replicas[replica].get(&name(id)), Some(&made));
                }
                Event::Synchronize { replica, id, is_interrupted } => {
                    let known = world.replicas[replica].get(&name(id)).cloned();
                    world.synchronize(replica, part_of(&name(id)), is_interrupted);
                    // Nothing that is known is replaced by something earlier.
                    let now = world.replicas[replica].get(&name(id));
                    if let (Some(known), Some(now)) = (known, now) {
                        prop_assert!(!now.order(&known).is_lt());
                    }
                }
                Event::Forget { id } => world.engine[part_of(&name(id))] = None,
                Event::Restart { replica, keeps } => {
                    let before = std::mem::take(&mut world.replicas[replica]);
                    if keeps {
                        for record in before.records() {
                            world.replicas[replica].restore(Record::read(record.text()).unwrap());
                        }
                    }
                }
                Event::Pass { us } => world.now += us,
            }
        }
        // The latest of what anybody still knows.
        let mut latest: std::collections::BTreeMap<String, Record> = std::collections::BTreeMap::default();
        let on_engine: Vec<Record> = {
            let mut ledger = Ledger::default();
            for part in 0..PARTS {
                ledger.merge(part, world.engine[part].as_deref(), at(world.now)).unwrap();
            }
            ledger.records().cloned().collect()
        };
        for record in world.replicas.iter().flat_map(Ledger::records).chain(&on_engine) {
            let kept = latest.entry(record.id().to_owned()).or_insert_with(|| record.clone());
            if kept.order(record).is_lt() {
                *kept = record.clone();
            }
        }
        latest.retain(|_, record| !record.has_ended(AT + world.now));
        world.settle();
        let mut expected: Vec<&str> = latest.values().map(Record::text).collect();
        expected.sort_unstable();
        for replica in 0..3 {
            let mut seen = world.seen(replica);
            seen.sort_unstable();
            prop_assert_eq!(&seen, &expected, "replica {}", replica);
            for part in 0..PARTS {
                let merged = world.replicas[replica].merge(part, world.engine[part].as_deref(), at(world.now)).unwrap();
                prop_assert_eq!(merged, Merged::default(), "nothing is left to do");
            }
        }
    }

    #[test]
    fn no_text_panics_or_is_taken_for_more_than_it_is(text in ".{0,200}", json in r#"\{"format":1,"records":\[.{0,80}\]\}"#) {
        for text in [text, json] {
            let mut ledger = Ledger::default();
            let merged = ledger.merge(0, Some(&text), at(0)).unwrap();
            prop_assert!(merged.write.is_none());
        }
    }
}

#[test]
fn what_is_not_known_here_is_passed_on_as_it_is() {
    let foreign = format!(r#"{{"is":{{"a":1e3}},"id":["new", 1.50],"at":{AT},"by":"x","more":[null]}}"#);
    let text = format!(r#"{{"format":1,"also":1,"records":[{foreign}]}}"#);
    let mut ledger = Ledger::default();
    let part = part_of(r#"["new",1.50]"#);
    assert_eq!(ledger.merge(part, Some(&text), at(0)).unwrap().changed.len(), 1);
    // Any change of the same part writes it again.
    let id = (0..100_000_u32).map(|n| n.to_string()).find(|id| part_of(&change(id, None, None).id) == part).unwrap();
    ledger.record(change(&id, Some("v"), None), "here", at(1)).unwrap();
    let written = ledger.merge(part, Some(&text), at(2)).unwrap().write.unwrap();
    assert!(written.contains(&foreign), "{written}");
}

#[test]
fn a_later_form_is_left_alone_and_garbage_is_replaced() {
    let mut ledger = Ledger::default();
    let id = change("a", Some("v"), None);
    let part = part_of(&id.id);
    ledger.record(id, "here", at(0)).unwrap();
    assert_eq!(ledger.merge(part, Some(r#"{"format":2,"other":[]}"#), at(1)), Err(PartError::Later));
    for garbage in
        ["", "\0", "[]", r#"{"format":1}"#, r#"{"format":-1,"records":[]}"#, "{\"format\":1,\"records\":[1,{}]}"]
    {
        let merged = ledger.merge(part, Some(garbage), at(1)).unwrap();
        assert!(merged.unreadable > 0 && merged.write.is_some() && merged.changed.is_empty(), "{garbage}");
    }
}

#[test]
fn records_from_far_ahead_of_time_are_none() {
    let (id, mut ledger) = (r#"["setting","a"]"#, Ledger::default());
    let part = part_of(id);
    for (ahead_h, is_taken) in [(23, 1), (25, 0), (1 << 30, 0)] {
        let time = AT + ahead_h * 3_600_000_000;
        let text = format!(r#"{{"format":1,"records":[{{"id":{id},"at":{time},"by":"x","is":{ahead_h}}}]}}"#);
        assert_eq!(ledger.merge(part, Some(&text), at(0)).unwrap().changed.len(), is_taken, "{ahead_h}");
    }
    // What was taken can be replaced.
    let change = Change { id: id.to_owned(), is: None, note: "{}".to_owned(), keep: None };
    let replaced = ledger.record(change, "here", at(0)).unwrap();
    assert_eq!(replaced.at(), at(23 * 3_600_000_000 + 1));
}

#[test]
fn records_end_everywhere_without_a_write() {
    let mut world = World::new(2);
    world.record(0, change("a", Some("v"), Some(100)), 0);
    // It is known as long as the one in whose place it is.
    world.record(0, change("a", None, Some(50)), 1);
    world.settle();
    let part = part_of(&change("a", None, None).id);
    assert!(!world.replicas[1].is_empty(part));
    world.now = 101;
    let written = world.engine.clone();
    world.settle();
    assert!(world.replicas.iter().all(|replica| replica.is_empty(part)) && world.engine == written);
    world.record(1, change("a", Some("w"), None), 0);
    world.settle();
    assert_eq!(world.seen(0), world.seen(1));
    assert!(!world.engine[part].as_ref().unwrap().contains("null"), "what has ended is not written again");
}

#[test]
fn a_part_is_bounded_and_keeps_what_has_a_value() {
    let same_part: Vec<String> = (0..100_000_u32)
        .map(|n| n.to_string())
        .filter(|id| part_of(&change(id, None, None).id) == 0)
        .take(900)
        .collect();
    let mut ledger = Ledger::default();
    let mut results = Vec::new();
    for (place, id) in (0..).zip(&same_part[..600]) {
        results.push(ledger.record(change(id, Some("v"), None), "here", at(place)).is_ok());
    }
    assert_eq!(results.iter().filter(|is_ok| **is_ok).count(), 512);
    for (place, id) in (1_000..).zip(&same_part[600..]) {
        assert!(ledger.record(change(id, None, None), "here", at(place)).is_ok());
    }
    ledger.merge(0, None, at(2_000)).unwrap();
    let (live, dead): (Vec<_>, Vec<_>) = ledger.records().partition(|record| record.is().is_some());
    assert_eq!((live.len(), dead.len()), (512, 256));
    let oldest = dead.iter().map(|record| record.at()).min();
    assert_eq!(oldest, Some(at(1_000 + 300 - 256)), "the oldest ones are dropped");
    let large = change("large", Some(&"v".repeat(MAX_PART_BYTES)), None);
    assert_eq!(ledger.record(large, "here", at(3_000)), Err(Full));
}
