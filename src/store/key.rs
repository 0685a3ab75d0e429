//! The bytes that name a counter.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::Identity;

/// The name of one counter: its limit's identity and the entry values that the rule leaves open.
///
/// Each part is preceded by its length, so `(a, b_c)` and `(a_b, c)` never meet. Built on the stack; only a new
/// counter copies it.
#[derive(Clone, Debug, Default)]
pub struct CounterKey {
    bytes: SmallVec<[u8; INLINE]>,
}

impl CounterKey {
    /// The name's first part.
    pub fn new(identity: Identity) -> Self {
        Self { bytes: SmallVec::from_slice(&identity.number().to_le_bytes()) }
    }

    /// Adds a part. One that is longer than [`LONGEST_PART`] stands as its SHA-256, so that a client's long header
    /// costs no more memory than a short one, and is limited all the same.
    pub fn push(&mut self, part: &[u8]) {
        if let Ok(length @ 0..=LONGEST_PART) = u8::try_from(part.len()) {
            self.bytes.push(length);
            self.bytes.extend_from_slice(part);
        } else {
            self.bytes.push(DIGEST_MARK);
            self.bytes.extend_from_slice(&Sha256::digest(part));
        }
    }

    /// Adds a number.
    pub fn push_number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Names up to this length need no heap: identity, and three values of ordinary length.
const INLINE: usize = 92;
/// The longest part that stands in a name as it is, in bytes: ids, paths and addresses are shorter.
const LONGEST_PART: u8 = 200;
/// In place of a length: a digest of 32 bytes follows.
const DIGEST_MARK: u8 = u8::MAX;
