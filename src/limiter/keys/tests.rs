//! Random rules and random checks: the counters in the store are decoded from their keys alone, and compared with those
//! expected by the rules.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::limiter::{Check, Descriptor, Limiter, Override, Settings, WorkerSlot};
use crate::rules::{LoadOptions, Period, RuleSet, SourceFile, Unit, Varies, load};
use crate::store::{CounterState, LimitIds};
use crate::units::Timestamp;

const NOW: Timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);
const DOMAINS: [&str; 2] = ["d", "d_k"];

/// A descriptor of the configuration.
#[derive(Clone, Debug)]
struct Node {
    key: &'static str,
    value: &'static str,
    share: bool,
    /// Places in [`LIMITS`].
    limits: Vec<usize>,
    below: Vec<Node>,
}

/// Limits that all differ, except for two of one kind, and that no check here exceeds.
const LIMITS: [&str; 11] = [
    r#"{"requests_per_unit": 1000, "unit": "hour"}"#,
    r#"{"requests_per_unit": 2000, "unit": "hour"}"#,
    r#"{"requests_per_unit": 1000, "unit": "day"}"#,
    r#"{"requests_per_unit": 1000, "period": "90m", "starts": "first_request"}"#,
    r#"{"requests_per_unit": 1000, "period": {"calendar": "month", "timezone": "Europe/Berlin"}}"#,
    r#"{"requests_per_unit": 1000, "period": {"calendar": "week", "first_day": "sunday"}}"#,
    r#"{"requests_per_unit": 1000, "unit": "hour", "algorithm": "sliding_window"}"#,
    r#"{"requests_per_unit": 1000, "unit": "hour", "algorithm": "sliding_log"}"#,
    r#"{"requests_per_unit": 1000, "unit": "hour", "algorithm": "token_bucket"}"#,
    r#"{"requests_per_unit": 1000, "unit": "day", "algorithm": "token_bucket"}"#,
    r#"{"requests_per_unit": 1000, "unit": "day", "algorithm": "token_bucket", "enabled": false}"#,
];

fn node(depth: u32) -> BoxedStrategy<Node> {
    let key = select(vec!["a", "a_b", "k", "k*", "*"]);
    let value = select(vec!["", "", "x", "b_c", "v*", "*z", "*"]);
    let limits = prop::collection::vec(0..LIMITS.len(), 0..4);
    let below = if depth == 0 { Just(Vec::new()).boxed() } else { nodes(depth - 1) };
    let node = (key, value, any::<bool>(), limits, below);
    node.prop_map(|(key, value, share, limits, below)| {
        // As the configuration requires: only patterns are shared, and a leaf has a limit.
        let share = share && (key.contains('*') || value.contains('*'));
        let limits = if below.is_empty() && limits.is_empty() { vec![0] } else { limits };
        Node { key, value, share, limits, below }
    })
    .boxed()
}

fn nodes(depth: u32) -> BoxedStrategy<Vec<Node>> {
    let distinct = |nodes: Vec<Node>| {
        let text = |node: &Node| [node.key, node.value].join(if node.value.is_empty() { "" } else { "_" });
        let by_text: BTreeMap<_, _> = nodes.into_iter().map(|node| (text(&node), node)).collect();
        by_text.into_values().collect::<Vec<_>>()
    };
    prop::collection::vec(node(depth), 1..4).prop_map(distinct).prop_shuffle().boxed()
}

/// A file's descriptors, in the order of the nodes or the other way round.
fn descriptors(nodes: &[Node], reversed: bool) -> Value {
    let descriptor = |node: &Node| {
        let mut text = json!({"key": node.key, "share_threshold": node.share});
        let limits = node.limits.iter().map(|limit| serde_json::from_str(LIMITS[*limit]).unwrap());
        if !node.value.is_empty() {
            text["value"] = node.value.into();
        }
        if !node.limits.is_empty() {
            text["rate_limits"] = limits.collect::<Vec<Value>>().into();
        }
        if !node.below.is_empty() {
            text["descriptors"] = descriptors(&node.below, reversed);
        }
        text
    };
    let mut written: Vec<_> = nodes.iter().map(descriptor).collect();
    if reversed {
        written.reverse();
    }
    written.into()
}

fn rules(files: &[Vec<Node>], reversed: bool) -> RuleSet {
    let file = |(domain, nodes): (&&str, &Vec<Node>)| SourceFile {
        name: (*domain).into(),
        // JSON is YAML.
        text: json!({"domain": domain, "descriptors": descriptors(nodes, reversed)}).to_string().into_bytes(),
    };
    let mut files: Vec<_> = DOMAINS.iter().zip(files).map(file).collect();
    if reversed {
        files.reverse();
    }
    load(&files, LoadOptions::default()).unwrap()
}

/// Texts that clients send: empty, ambiguous when joined, not ASCII, and around the longest part of a key.
fn sent() -> impl Strategy<Value = String> {
    let long = |length: usize| "y".repeat(length);
    let texts = ["", "x", "b_c", "k", "vz", "é\u{0}\u{1f}", "\u{fffd}"].map(str::to_owned);
    select([&texts[..], &[long(199), long(200), long(201), long(255), long(256), long(5_000)]].concat())
}

/// A check of one descriptor: a path down the nodes, a text for each `*` and each open value, and perhaps an override.
#[derive(Clone, Debug)]
struct Walk {
    domain: usize,
    steps: Vec<(Index, String, String)>,
    limit: Option<Unit>,
}

fn walk() -> impl Strategy<Value = Walk> {
    let steps = prop::collection::vec((any::<Index>(), sent(), sent()), 1..4);
    let unit = prop_oneof![4 => Just(None), 1 => select(vec![Some(Unit::Hour), Some(Unit::Day)])];
    (0..DOMAINS.len(), steps, unit).prop_map(|(domain, steps, limit)| Walk { domain, steps, limit })
}

impl Walk {
    fn entries(&self, files: &[Vec<Node>]) -> Vec<(String, String)> {
        let (mut nodes, mut entries) = (&files[self.domain], Vec::new());
        for (index, key, value) in &self.steps {
            if nodes.is_empty() {
                break;
            }
            let node = index.get(nodes);
            let open = if node.value.is_empty() { value.clone() } else { node.value.replace('*', value) };
            entries.push((node.key.replace('*', key), open));
            nodes = &node.below;
        }
        entries
    }
}

fn check<'a>(walk: &Walk, entries: &'a [(String, String)]) -> Check<'a> {
    let entry = |(key, value): &'a (String, String)| Entry { key: key.into(), value: value.into() };
    let limit = walk.limit.map(|unit| Override { requests_per_unit: 1_000, period: Some(Period::from_units(unit, 1)) });
    let descriptor = Descriptor { entries: entries.iter().map(entry).collect(), limit, ..Descriptor::default() };
    Check { domain: DOMAINS[walk.domain].into(), descriptors: [descriptor].into_iter().collect(), ..Check::default() }
}

/// A counter in readable form, from the rules or from its key: limit, and entries with texts as they are in keys.
type Plain = (String, Vec<(Vec<u8>, Vec<u8>)>);

fn plain(decoded: &DecodedKey<'_>) -> Plain {
    let bytes = |part: &KeyPart<'_>| match part {
        KeyPart::Bytes(bytes) => bytes.to_vec(),
        KeyPart::Sha256(digest) => [b"SHA-256 ", &digest[..]].concat(),
    };
    let limit = match &decoded.limit {
        DecodedLimit::Rule(limit) => {
            let levels: Vec<_> = limit.rule.levels.iter().map(|level| (&*level.key, &*level.value)).collect();
            format!("{} {levels:?} {:?} {}", limit.rule.domain, limit.kind, limit.ordinal)
        }
        DecodedLimit::Override { domain, window } => {
            format!("override {} {window:?}", String::from_utf8(bytes(domain)).unwrap())
        }
    };
    (limit, decoded.entries.iter().map(|(key, value)| (bytes(key), bytes(value))).collect())
}

/// The counters that a check has by the rules, computed in another way than keys are.
fn expected(rules: &RuleSet, walk: &Walk, entries: &[(String, String)]) -> Vec<Plain> {
    let text = |text: &str| match text.len() {
        ..=200 => text.as_bytes().to_vec(),
        _ => [b"SHA-256 ", &Sha256::digest(text)[..]].concat(),
    };
    let domain = DOMAINS[walk.domain];
    if let Some(unit) = walk.limit {
        let entries = entries.iter().map(|(key, value)| (text(key), text(value))).collect();
        return vec![(format!("override {domain} {:?}", OverrideWindow::Length(unit.length())), entries)];
    }
    let check = check(walk, entries);
    let found = rules.domain(domain).unwrap().find(rules.rules(), &check.descriptors[0].entries);
    let Some(rule) = found.map(|found| found.rule) else { return Vec::new() };
    let decided = rule.levels.iter().zip(entries).map(|(level, (key, value))| {
        let configured = (level.key.clone().into_bytes(), level.value.clone().into_bytes());
        match level.varies {
            Varies::Nothing => configured,
            Varies::Key => (text(key), configured.1),
            Varies::Value => (configured.0, text(value)),
            Varies::KeyAndValue => (text(key), text(value)),
        }
    });
    let decided: Vec<_> = decided.collect();
    let levels: Vec<_> = rule.levels.iter().map(|level| (&level.key, &level.value)).collect();
    let limit = |(place, limit): (usize, &RuleLimit)| {
        let kind = |limit: &RuleLimit| LimitKind::from(&limit.limit);
        let comes_before = |(other_place, other): &(usize, &RuleLimit)| {
            let (longer, window) = (other.limit.window, limit.limit.window);
            kind(other) == kind(limit) && (longer > window || longer == window && *other_place < place)
        };
        let ordinal = 1 + rule.limits.iter().enumerate().filter(comes_before).count();
        (format!("{domain} {levels:?} {:?} {ordinal}", kind(limit)), decided.clone())
    };
    rule.limits.iter().enumerate().filter(|(_, limit)| limit.enabled).map(limit).collect()
}

/// The key, encoded again from its decoded form.
fn encoded_again(limits: &LimitTable, decoded: &DecodedKey<'_>) -> Vec<u8> {
    fn add(key: &mut Vec<u8>, part: &KeyPart<'_>) {
        match part {
            KeyPart::Bytes(bytes) => {
                key.push(u8::try_from(bytes.len()).unwrap());
                key.extend_from_slice(bytes);
            }
            KeyPart::Sha256(digest) => key.extend([&[0xff], &digest[..]].concat()),
        }
    }
    let mut key = Vec::new();
    match &decoded.limit {
        DecodedLimit::Rule(limit) => {
            key.extend(limits.id(limit.fingerprint()).unwrap().number().to_le_bytes());
            for (level, (sent_key, value)) in limit.rule.levels.iter().zip(&decoded.entries) {
                [(level.key_varies, sent_key), (level.value_varies, value)]
                    .iter()
                    .filter(|(varies, _)| *varies)
                    .for_each(|(_, part)| add(&mut key, part));
            }
        }
        DecodedLimit::Override { domain, window } => {
            key.extend([0; 4]);
            key.extend(window.number().to_le_bytes());
            add(&mut key, domain);
            decoded.entries.iter().flat_map(|(key, value)| [key, value]).for_each(|part| add(&mut key, part));
        }
    }
    key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_encoded_is_decoded(
        files in prop::collection::vec(nodes(2), DOMAINS.len()), walks in prop::collection::vec(walk(), 1..20),
        again: bool,
    ) {
        let rules_in_force = rules(&files, false);
        let limiter = Limiter::new(Settings::default());
        if again {
            limiter.replace_rules(NOW, rules(&files, true));
        }
        limiter.replace_rules(NOW, rules(&files, false));
        let mut want = BTreeSet::new();
        for walk in &walks {
            let entries = walk.entries(&files);
            limiter.view().unwrap().check(WorkerSlot(0), NOW, &check(walk, &entries));
            want.extend(expected(&rules_in_force, walk, &entries));
        }
        let exported: Vec<_> = limiter.store().export().flatten().collect();
        let limits = limiter.limits();
        let decoded: Vec<_> =
            exported.iter().map(|counter| (counter, decode(&limits, counter.key()).unwrap())).collect();
        for (counter, decoded) in &decoded {
            prop_assert_eq!(counter.key(), &encoded_again(&limits, decoded)[..]);
            let is_log = matches!(counter.state, CounterState::Log(_));
            let of_log = matches!(decoded.limit, DecodedLimit::Rule(limit) if matches!(limit.kind, LimitKind::SlidingLog(_)));
            prop_assert_eq!(is_log, of_log);
        }
        let got: BTreeSet<_> = decoded.iter().map(|(_, decoded)| plain(decoded)).collect();
        prop_assert_eq!(got.len(), exported.len(), "two counters have one meaning");
        prop_assert_eq!(got, want);
    }

    /// A key that is shorter or longer than the keys of its limit is an error.
    #[test]
    fn what_is_no_key_is_an_error(
        files in prop::collection::vec(nodes(1), DOMAINS.len()), bytes in prop::collection::vec(any::<u8>(), 0..40),
        mut walk in walk(),
    ) {
        let limiter = Limiter::new(Settings::default());
        limiter.replace_rules(NOW, rules(&files, false));
        let (limits, no_limits) = (limiter.limits(), LimitTable::default());
        if let Ok(decoded) = decode(&limits, &bytes) {
            prop_assert_eq!(encoded_again(&limits, &decoded), bytes);
        }
        walk.limit = None;
        let entries = walk.entries(&files);
        limiter.view().unwrap().check(WorkerSlot(0), NOW, &check(&walk, &entries));
        for counter in limiter.store().export().flatten() {
            for length in 0..counter.key().len() {
                prop_assert!(decode(&limits, &counter.key()[..length]).is_err());
            }
            let longer = [counter.key(), &[0]].concat();
            prop_assert_eq!(decode(&limits, &longer), Err(KeyError::Malformed));
            prop_assert_eq!(decode(&no_limits, counter.key()), Err(KeyError::UnknownLimit));
        }
    }

    #[test]
    fn ids_do_not_depend_on_the_order_of_files_or_rules(files in prop::collection::vec(nodes(2), DOMAINS.len())) {
        let ids = |rules: &RuleSet| {
            let limits: Vec<_> =
                rules.rules().iter().flat_map(|rule| describe_limits(rule, &describe(rule))).collect();
            let ids = LimitIds::default().assign(&limits, Default::default);
            let name = |limit: &LimitDescription| format!("{limit:?}");
            limits.iter().map(name).zip(ids).collect::<BTreeMap<_, _>>()
        };
        prop_assert_eq!(ids(&rules(&files, false)), ids(&rules(&files, true)));
    }
}

fn rule_of_file(levels: &str) -> RuleSet {
    let text = format!(r#"{{"domain": "d", "descriptors": [{levels}]}}"#).into_bytes();
    load(&[SourceFile { name: "d".into(), text }], LoadOptions::default()).unwrap()
}

fn send(limiter: &Limiter, value: &str) {
    let entries = [("a".to_owned(), value.to_owned())];
    let walk = Walk { domain: 0, steps: Vec::new(), limit: None };
    limiter.view().unwrap().check(WorkerSlot(0), NOW, &check(&walk, &entries));
}

fn counters(limiter: &Limiter) -> BTreeSet<Plain> {
    let exported: Vec<_> = limiter.store().export().flatten().collect();
    let limits = limiter.limits();
    exported.iter().map(|counter| plain(&decode(&limits, counter.key()).unwrap())).collect()
}

/// The number of the limit is not a part of its keys; and the counters of a removed rule can still be decoded.
#[test]
fn counters_of_former_configurations_are_decoded_by_what_they_were() {
    let limiter = Limiter::new(Settings::default());
    let pattern = |share: bool, number: u32| {
        let limit = format!(r#"{{"requests_per_unit": {number}, "unit": "day"}}"#);
        rule_of_file(&format!(r#"{{"key": "a", "value": "v*", "share_threshold": {share}, "rate_limit": {limit}}}"#))
    };
    let counter = |value: &str| {
        let kind = LimitKind::FixedWindow { starts: crate::engine::Starts::Clock, window: Unit::Day.length() };
        (format!(r#"d [("a", "v*")] {kind:?} 1"#), vec![(b"a".to_vec(), value.as_bytes().to_vec())])
    };
    limiter.replace_rules(NOW, pattern(false, 10));
    send(&limiter, "v1");
    assert_eq!(counters(&limiter), [counter("v1")].into());
    limiter.replace_rules(NOW, pattern(false, 20));
    send(&limiter, "v1");
    assert_eq!(counters(&limiter), [counter("v1")].into(), "a changed number keeps the count");
    limiter.replace_rules(NOW, pattern(true, 20));
    send(&limiter, "v1");
    assert_eq!(counters(&limiter), [counter("v1"), counter("v*")].into());
    for _ in 0..3 {
        limiter.replace_rules(NOW, RuleSet::default());
    }
    assert_eq!(counters(&limiter), [counter("v1"), counter("v*")].into(), "the rule is gone, its counters are not");
}
