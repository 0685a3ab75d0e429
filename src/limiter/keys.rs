//! The keys of counters and of their series: the only module that encodes and decodes them.
//!
//! ```text
//! of a rule's limit   id of the limit (4 bytes)   what the rule does not fix: for each level its key, its value
//! request override    0 (4 bytes)                 window in ns (8 bytes; of a calendar month: all ones but the last bit), domain, key and value of each entry
//! series of a rule    fingerprint (16 bytes)      as for a limit of the rule
//! series of overrides 0 (16 bytes)                as for an override, without its window
//! ```

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::override_window::OverrideWindow;
use crate::rules::{Entry, Level, Rule, RuleLimit};
use crate::store::{
    CounterKeys, Fingerprint, KeyLocation, KeyPart, KeyReader, KeyWriter, LevelDescription, LimitDescription, LimitId,
    LimitKind, LimitTable, RuleDescription,
};

/// Adds the key of a counter of one of the rule's limits.
pub(super) fn add_rule(keys: &mut CounterKeys, limit_id: LimitId, rule: &Rule, entries: &[Entry<'_>]) -> KeyLocation {
    keys.add(limit_id, |key| push_open(key, rule, entries))
}

/// Adds the key of a counter of a request override: counted by domain, window and entries.
pub(super) fn add_override(
    keys: &mut CounterKeys,
    domain: &str,
    window: OverrideWindow,
    entries: &[Entry<'_>],
) -> KeyLocation {
    keys.add(LimitId::OVERRIDE, |mut key| {
        key.push_number(window.number());
        push_all(key, domain, entries);
    })
}

/// Adds the key of a series of the rule: one for all its limits, so that usage continues when a limit changes.
pub(super) fn add_rule_series(
    keys: &mut CounterKeys,
    fingerprint: Fingerprint,
    rule: &Rule,
    entries: &[Entry<'_>],
) -> KeyLocation {
    keys.add_fingerprinted(fingerprint, |key| push_open(key, rule, entries))
}

/// Adds the key of a series of request overrides.
pub(super) fn add_override_series(keys: &mut CounterKeys, domain: &str, entries: &[Entry<'_>]) -> KeyLocation {
    keys.add_fingerprinted(Fingerprint::OVERRIDE, |key| push_all(key, domain, entries))
}

/// Adds the parts that the rule does not fix.
fn push_open(mut key: KeyWriter<'_>, rule: &Rule, entries: &[Entry<'_>]) {
    for (level, entry) in rule.levels.iter().zip(entries) {
        if level.varies.key() {
            key.push(entry.key.as_bytes());
        }
        if level.varies.value() {
            key.push(entry.value.as_bytes());
        }
    }
}

fn push_all(mut key: KeyWriter<'_>, domain: &str, entries: &[Entry<'_>]) {
    key.push(domain.as_bytes());
    for entry in entries {
        key.push(entry.key.as_bytes());
        key.push(entry.value.as_bytes());
    }
}

/// The decoded key of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedKey<'k> {
    /// The limit that it belongs to.
    pub limit: DecodedLimit<'k>,
    /// The entries, key and value. Parts that the rule fixes have the configured text; a shared pattern stays a pattern.
    pub entries: Vec<(KeyPart<'k>, KeyPart<'k>)>,
}

impl<'k> DecodedKey<'k> {
    /// The entries as those of a check. A value of which only the hash is known is empty.
    pub(super) fn entries(&self) -> Vec<Entry<'k>> {
        let text = |part: &KeyPart<'k>| match part {
            KeyPart::Bytes(bytes) => String::from_utf8_lossy(bytes),
            KeyPart::Sha256(_) => "".into(),
        };
        self.entries.iter().map(|(key, value)| Entry { key: text(key), value: text(value) }).collect()
    }
}

/// The limit that a counter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodedLimit<'k> {
    /// A rule's.
    Rule(&'k LimitDescription),
    /// A request override's.
    Override {
        /// The domain.
        domain: KeyPart<'k>,
        /// Its windows.
        window: OverrideWindow,
    },
}

/// Why a key cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Its limit was in no configuration of this process, or has been forgotten.
    #[error("the limit of the key is not known")]
    UnknownLimit,
    /// Its parts do not match its limit.
    #[error("the key does not match its limit")]
    Malformed,
}

/// Decodes a counter's key. Cost: one look-up and one allocation, for the entries.
///
/// # Errors
/// `limits` do not have the key's limit, or the parts of the key do not match it. Neither happens with the keys and the
/// limits of one limiter.
pub fn decode<'k>(limits: &'k LimitTable, key: &'k [u8]) -> Result<DecodedKey<'k>, KeyError> {
    let (id, parts) = KeyReader::new(key).ok_or(KeyError::Malformed)?;
    if id == LimitId::OVERRIDE {
        return decode_override(parts).ok_or(KeyError::Malformed);
    }
    let limit = limits.limit(id).ok_or(KeyError::UnknownLimit)?;
    decode_rule(limit, parts).ok_or(KeyError::Malformed)
}

fn decode_rule<'k>(limit: &'k LimitDescription, mut parts: KeyReader<'k>) -> Option<DecodedKey<'k>> {
    let mut part = |varies: bool, configured: &'k str| {
        if varies { parts.part() } else { Some(KeyPart::Bytes(configured.as_bytes())) }
    };
    let mut entry = |level: &'k LevelDescription| {
        Some((part(level.key_varies, &level.key)?, part(level.value_varies, &level.value)?))
    };
    let entries = limit.rule.levels.iter().map(&mut entry).collect::<Option<_>>()?;
    parts.is_empty().then_some(DecodedKey { limit: DecodedLimit::Rule(limit), entries })
}

fn decode_override(mut parts: KeyReader<'_>) -> Option<DecodedKey<'_>> {
    let window = OverrideWindow::from_number(parts.number()?);
    let domain = parts.part()?;
    let mut entries = Vec::new();
    while !parts.is_empty() {
        entries.push((parts.part()?, parts.part()?));
    }
    Some(DecodedKey { limit: DecodedLimit::Override { domain, window }, entries })
}

/// The description of a rule, independent of its position in the configuration.
pub(super) fn describe(rule: &Rule) -> Arc<RuleDescription> {
    let level = |level: &Level| LevelDescription {
        key: level.key.as_str().into(),
        value: level.value.as_str().into(),
        key_varies: level.varies.key(),
        value_varies: level.varies.value(),
    };
    Arc::new(RuleDescription { domain: rule.domain.as_str().into(), levels: rule.levels.iter().map(level).collect() })
}

/// The descriptions of the limits of a rule, in their order.
///
/// Positions in the list are not a part of them, so that reordering a list loses no counts. Several of one kind are numbered
/// from the longest window down, so that adding a bucket with a shorter period does not change the others.
pub(super) fn describe_limits(rule: &Rule, description: &Arc<RuleDescription>) -> Vec<LimitDescription> {
    let mut ordered: Vec<_> = (0..).zip(&rule.limits).collect();
    // Stable: those with the same window stay in the order of the list.
    ordered.sort_by_key(|(_, limit)| Reverse(limit.limit.window));
    let mut ordinals: HashMap<LimitKind, u32> = HashMap::new();
    let mut describe = |(place, limit): (usize, &RuleLimit)| {
        let kind = LimitKind::from(&limit.limit);
        let ordinal = ordinals.entry(kind).or_insert(0);
        *ordinal += 1;
        (place, LimitDescription { rule: Arc::clone(description), kind, ordinal: *ordinal })
    };
    let mut described: Vec<_> = ordered.into_iter().map(&mut describe).collect();
    described.sort_unstable_by_key(|(place, _)| *place);
    described.into_iter().map(|(_, limit)| limit).collect()
}

#[cfg(test)]
mod tests;
