//! Hashes in the place of values, so that a recording says how often a user came, and not who.

use sha2::{Digest, Sha256};

use crate::hex::push_hex;
use crate::limiter::{Check, Descriptor};
use crate::rules::{Domain, How, RuleSet};

/// Hashes values with a key of its own, which is kept in memory only and ends with the recording: the same value has the same
/// hash in one recording, and another one in the next.
pub struct ValueHashes {
    key: [u8; 32],
}

/// The system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("no random numbers from the system: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

/// Does not show the key.
impl std::fmt::Debug for ValueHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueHashes").finish_non_exhaustive()
    }
}

impl ValueHashes {
    /// With a random key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self { key })
    }

    /// Replaces the values of a check by their hashes, but for those that `rules` name exactly: they are no secret, and replaced
    /// they would match another rule. Of a value that a pattern of the rules matches, the text of the pattern stays.
    ///
    /// Returns the number of descriptors that match another rule all the same, because a hash happens to match another pattern.
    /// Cost: a hash and some look-ups for each value.
    pub fn hide(&self, check: &mut Check<'_>, rules: Option<&RuleSet>) -> u64 {
        let found = rules.and_then(|rules| Some((rules, rules.domain(&check.domain)?)));
        let mut changed = 0;
        for descriptor in &mut check.descriptors {
            match found {
                None => descriptor.entries.iter_mut().for_each(|entry| entry.value = self.hash(&entry.value).into()),
                Some((rules, domain)) => changed += u64::from(self.hide_descriptor(descriptor, rules, domain)),
            }
        }
        changed
    }

    /// Returns whether the descriptor matches another rule than before.
    fn hide_descriptor(&self, descriptor: &mut Descriptor<'_>, rules: &RuleSet, domain: &Domain) -> bool {
        let matched =
            |descriptor: &Descriptor<'_>| domain.find(rules.rules(), &descriptor.entries).map(|found| found.rule.index);
        let before = matched(descriptor);
        let levels: Vec<_> = domain.levels(&descriptor.entries).collect();
        for (position, entry) in descriptor.entries.iter_mut().enumerate() {
            let hash = self.hash(&entry.value);
            let hidden = match levels.get(position) {
                Some((How::Exact, _)) => continue,
                Some((How::Pattern, text)) => shaped(text, &entry.key, &hash),
                _ => hash,
            };
            entry.value = hidden.into();
        }
        before != matched(descriptor)
    }

    /// 96 bits of a keyed SHA-256, which is a message authentication code: it is truncated, so that nothing can be appended.
    fn hash(&self, value: &str) -> String {
        let digest = Sha256::new().chain_update(self.key).chain_update(value.as_bytes()).finalize();
        let mut text = "~".to_owned();
        push_hex(&mut text, digest.get(..HASH_BYTES).unwrap_or_default());
        text
    }
}

/// A value that matches the pattern in `text`, `key_pattern`, with a hash in the place of its first `*`.
fn shaped(text: &str, key: &str, hash: &str) -> String {
    let pattern = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('_')).filter(|rest| rest.contains('*'));
    pattern.map_or_else(|| hash.to_owned(), |pattern| pattern.replacen('*', hash, 1).replace('*', ""))
}

/// 96 bits: two of a billion values have the same hash once in a hundred billion recordings.
const HASH_BYTES: usize = 12;
