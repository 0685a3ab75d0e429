//! The names of counters on the engine.

use std::cell::Cell;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::slot::slot_of;
use crate::store::Fingerprint;

/// Begins every key. Two fleets on one engine need two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyPrefix {
    fn default() -> Self {
        Self("tg1:".to_owned())
    }
}

impl FromStr for KeyPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PREFIX_BYTES {
            return Err(format!("the prefix of keys has 1 to {MAX_PREFIX_BYTES} bytes, not {}", text.len()));
        }
        match text.chars().find(|c| matches!(c, '{' | '}') || c.is_whitespace() || c.is_control()) {
            Some(found) => Err(format!("the prefix of keys may not contain {found:?}: it would decide about the slot")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The name of a counter, the same in every process: `PREFIX{16 characters}6 characters`.
///
/// It is made of hashes, so that no value of a client can be read on the engine. The part in braces decides about the slot of a
/// cluster: the limits of one rule with the same values share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey(String);

impl SharedKey {
    /// The name of the counter of a limit.
    ///
    /// `parts` is its key in memory without the number of the limit, which belongs to one process
    /// ([`KeyReader::rest`](crate::store::KeyReader::rest)). For request overrides both fingerprints are [`Fingerprint::OVERRIDE`].
    /// Cost: two SHA-256, one if the thread has named a counter of this limit last.
    pub fn new(prefix: &KeyPrefix, rule: Fingerprint, limit: Fingerprint, parts: &[u8]) -> Self {
        let slot = Sha256::new().chain_update(rule.to_bytes()).chain_update(parts).finalize();
        Self::of(prefix, &slot, &limit_hash(limit), COUNTER_CHARACTERS)
    }

    /// The name of a counter whose rule says in which slot it is: those with the same `slot` share one. `PREFIX{16 characters}16 characters`.
    ///
    /// The rest is as in [`new`](Self::new).
    pub fn in_slot(
        prefix: &KeyPrefix,
        slot: SlotName<'_>,
        rule: Fingerprint,
        limit: Fingerprint,
        parts: &[u8],
    ) -> Self {
        let SlotName { domain, key, value } = slot;
        let mut hash = Sha256::new();
        for text in [domain, key, value] {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        let counter = Sha256::new().chain_update(rule.to_bytes()).chain_update(limit.to_bytes()).chain_update(parts);
        Self::of(prefix, &hash.finalize(), &counter.finalize(), SLOT_CHARACTERS)
    }

    fn of(prefix: &KeyPrefix, slot: &[u8], counter: &[u8], counter_characters: usize) -> Self {
        let mut name = String::with_capacity(prefix.0.len() + SLOT_CHARACTERS + counter_characters + 2);
        name.push_str(&prefix.0);
        name.push('{');
        push_base64(&mut name, slot, SLOT_CHARACTERS);
        name.push('}');
        push_base64(&mut name, counter, counter_characters);
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, to be kept.
    pub fn into_name(self) -> Box<str> {
        self.0.into()
    }

    /// The slot in a cluster.
    pub fn slot(&self) -> u16 {
        slot_of(&self.0)
    }
}

/// What decides about the slot of a counter: the value of an entry, in a domain.
#[derive(Clone, Copy, Debug)]
pub struct SlotName<'a> {
    /// The domain.
    pub domain: &'a [u8],
    /// The key of the entry.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// The SHA-256 of a limit. Checks that arrive together usually are of few limits.
fn limit_hash(limit: Fingerprint) -> [u8; HASH_BYTES] {
    if let Some((last, hash)) = LAST_LIMIT.get()
        && last == limit
    {
        return hash;
    }
    let hash = Sha256::digest(limit.to_bytes()).into();
    LAST_LIMIT.set(Some((limit, hash)));
    hash
}

thread_local! {
    static LAST_LIMIT: Cell<Option<(Fingerprint, [u8; HASH_BYTES])>> = const { Cell::new(None) };
}

/// Adds the first `characters` of a hash in base64, at most [`SLOT_CHARACTERS`], with the alphabet for URLs.
fn push_base64(text: &mut String, hash: &[u8], characters: usize) {
    let mut encoded = [0; SLOT_CHARACTERS];
    // Three bytes are four characters: those that follow change nothing in them.
    let bytes = hash.get(..characters.div_ceil(4) * 3).unwrap_or(hash);
    let length = URL_SAFE_NO_PAD.encode_slice(bytes, &mut encoded).unwrap_or(0);
    let encoded = encoded.get(..length.min(characters)).unwrap_or_default();
    text.push_str(std::str::from_utf8(encoded).unwrap_or_default());
}

/// Of a SHA-256.
const HASH_BYTES: usize = 32;
/// 96 bits: two of a billion counters share them once in 10^11 engines.
const SLOT_CHARACTERS: usize = 16;
/// 36 bits among the limits of one rule.
const COUNTER_CHARACTERS: usize = 6;
/// The longest prefix of keys, in bytes: it is a part of each key.
const MAX_PREFIX_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_documented_form_and_distinct() {
        let print = |n| Fingerprint::from_bytes([n; 16]);
        let prefix = KeyPrefix::default();
        let name = |rule, limit, parts: &[u8]| SharedKey::new(&prefix, print(rule), print(limit), parts).0;
        let first = name(1, 2, b"\x03ann");
        assert_eq!((first.len(), first.starts_with("tg1:{"), first.find('}')), (4 + 18 + 6, true, Some(21)), "{first}");
        assert_eq!(first, name(1, 2, b"\x03ann"));
        for other in [name(1, 2, b"\x03bob"), name(1, 3, b"\x03ann"), name(2, 2, b"\x03ann")] {
            assert_ne!(first, other);
        }
        assert_eq!(first[..22], name(1, 3, b"\x03ann")[..22], "limits of one rule share a slot");
        let slot = |value| SlotName { domain: b"d", key: b"tenant", value };
        let slotted = |value, rule, limit, parts: &[u8]| {
            SharedKey::in_slot(&prefix, slot(value), print(rule), print(limit), parts).0
        };
        let first = slotted(b"acme", 1, 2, b"\x03ann");
        assert_eq!((first.len(), &first[..22]), (4 + 18 + 16, &*slotted(b"acme", 3, 4, b"\x03bob")[..22].to_owned()));
        for other in
            [slotted(b"acme", 3, 2, b"\x03ann"), slotted(b"acme", 1, 3, b"\x03ann"), slotted(b"bob", 1, 2, b"\x03ann")]
        {
            assert_ne!(first, other);
        }
        let mut text = String::new();
        push_base64(&mut text, b"Man", 4);
        assert_eq!(text, "TWFu");
    }

    #[test]
    fn prefixes_with_braces_are_rejected() {
        for bad in ["", "a{b", "a}b", "a b", &"x".repeat(33)] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
        }
        assert_eq!("tg1:east:".parse::<KeyPrefix>().unwrap().as_str(), "tg1:east:");
    }
}
