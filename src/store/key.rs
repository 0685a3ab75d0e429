//! The bytes that name a counter.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::LimitId;

/// The name of one counter: its limit's identity and the entry values that the rule leaves open.
///
/// Each part is preceded by its length, so `(a, b_c)` and `(a_b, c)` never meet. Built on the stack; only a new
/// counter copies it.
#[derive(Clone, Debug, Default)]
pub struct CounterKey {
    bytes: Bytes,
}

impl CounterKey {
    /// The name's first part.
    pub fn new(limit_id: LimitId) -> Self {
        Self { bytes: SmallVec::from_slice(&limit_id.number().to_le_bytes()) }
    }

    /// Adds a part; see [`KeyWriter::push`].
    pub fn push(&mut self, part: &[u8]) {
        KeyWriter(&mut self.bytes).push(part);
    }

    /// Adds a number.
    pub fn push_number(&mut self, number: u64) {
        KeyWriter(&mut self.bytes).push_number(number);
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The names of a check's counters, one after the other: what limits a descriptor keeps a place here, not a name.
#[derive(Clone, Debug, Default)]
pub struct CounterKeys {
    bytes: Bytes,
}

/// Where a name stands in its [`CounterKeys`].
#[derive(Clone, Copy, Debug)]
pub struct KeyLocation {
    start: usize,
    end: usize,
}

impl CounterKeys {
    /// Adds a name: the identity, and the parts that `push` adds.
    pub fn add(&mut self, limit_id: LimitId, push: impl FnOnce(KeyWriter<'_>)) -> KeyLocation {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&limit_id.number().to_le_bytes());
        push(KeyWriter(&mut self.bytes));
        KeyLocation { start, end: self.bytes.len() }
    }

    /// The name at a place that [`CounterKeys::add`] of this value gave.
    pub fn key(&self, place: KeyLocation) -> &[u8] {
        self.bytes.get(place.start..place.end).unwrap_or_default()
    }
}

/// Adds parts to a name.
#[derive(Debug)]
pub struct KeyWriter<'k>(&'k mut Bytes);

impl KeyWriter<'_> {
    /// Adds a part. One that is longer than [`LONGEST_PART`] stands as its SHA-256, so that a client's long header
    /// costs no more memory than a short one, and is limited all the same.
    pub fn push(&mut self, part: &[u8]) {
        if let Ok(length @ 0..=LONGEST_PART) = u8::try_from(part.len()) {
            self.0.push(length);
            self.0.extend_from_slice(part);
        } else {
            self.push_digest(part);
        }
    }

    #[cold]
    fn push_digest(&mut self, part: &[u8]) {
        self.0.push(DIGEST_MARK);
        self.0.extend_from_slice(&Sha256::digest(part));
    }

    /// Adds a number.
    pub fn push_number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
}

type Bytes = SmallVec<[u8; INLINE]>;

/// Names up to this length together need no heap: one of three values of ordinary length, or two.
const INLINE: usize = 112;
/// The longest part that stands in a name as it is, in bytes: ids, paths and addresses are shorter.
const LONGEST_PART: u8 = 200;
/// In place of a length: a digest of 32 bytes follows.
const DIGEST_MARK: u8 = u8::MAX;
