//! The bytes that identify a counter: encoded for each check, decoded by listings and persistence.
//!
//! A key is the number of a limit (4 bytes) and parts, each preceded by its length in one byte. The parts depend on the
//! limit: see `limiter::keys`, which encodes and decodes them.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{Fingerprint, LimitId};

/// The key of one counter: its limit's id and the entry values that the rule does not fix.
///
/// Each part is preceded by its length, so `(a, b_c)` and `(a_b, c)` never share a key. Built on the stack; only a new
/// counter copies it.
#[derive(Clone, Debug, Default)]
pub struct CounterKey {
    bytes: Bytes,
}

impl CounterKey {
    /// A key without parts.
    pub fn new(limit_id: LimitId) -> Self {
        Self { bytes: SmallVec::from_slice(&limit_id.number().to_le_bytes()) }
    }

    /// Adds a part; see [`KeyWriter::push`].
    pub fn push(&mut self, part: &[u8]) {
        KeyWriter(&mut self.bytes).push(part);
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The keys of a check's counters in one buffer; limits refer to them by location.
#[derive(Clone, Debug, Default)]
pub struct CounterKeys {
    bytes: Bytes,
}

/// The location of a key in its [`CounterKeys`].
#[derive(Clone, Copy, Debug)]
pub struct KeyLocation {
    start: usize,
    end: usize,
}

impl CounterKeys {
    /// Adds a key: the limit's id, and the parts that `push` adds.
    pub fn add(&mut self, limit_id: LimitId, push: impl FnOnce(KeyWriter<'_>)) -> KeyLocation {
        self.add_after(&limit_id.number().to_le_bytes(), push)
    }

    /// Adds a key that begins with a fingerprint in place of an id, for keys that are independent of the process's ids.
    pub fn add_fingerprinted(&mut self, of: Fingerprint, push: impl FnOnce(KeyWriter<'_>)) -> KeyLocation {
        self.add_after(&of.to_bytes(), push)
    }

    fn add_after(&mut self, head: &[u8], push: impl FnOnce(KeyWriter<'_>)) -> KeyLocation {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(head);
        push(KeyWriter(&mut self.bytes));
        KeyLocation { start, end: self.bytes.len() }
    }

    /// The key at a location of this value.
    pub fn key(&self, location: KeyLocation) -> &[u8] {
        self.bytes.get(location.start..location.end).unwrap_or_default()
    }
}

/// Adds parts to a key.
#[derive(Debug)]
pub struct KeyWriter<'k>(&'k mut Bytes);

impl KeyWriter<'_> {
    /// Adds a part. A part longer than [`MAX_PART_BYTES`] is replaced by its SHA-256, so that a long header of a client costs no
    /// more memory than a short one, and is still limited.
    pub fn push(&mut self, part: &[u8]) {
        if let Ok(length @ 0..=MAX_PART_BYTES) = u8::try_from(part.len()) {
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

/// One decoded part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart<'k> {
    /// The part itself.
    Bytes(&'k [u8]),
    /// The SHA-256 of a part that is longer than [`MAX_PART_BYTES`].
    Sha256(&'k [u8; 32]),
}

impl KeyPart<'_> {
    /// The bytes of the part, or of its hash.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Sha256(digest) => *digest,
        }
    }

    /// Whether this is the part for a text.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Self::Bytes(bytes) => *bytes == text.as_bytes(),
            Self::Sha256(digest) => digest[..] == Sha256::digest(text)[..],
        }
    }
}

/// Reads the parts of a key in the order in which they were added.
///
/// If the rest of the key does not begin with what a method reads, the method returns `None`, and the reader does not
/// advance.
#[derive(Clone, Copy, Debug)]
pub struct KeyReader<'k>(&'k [u8]);

impl<'k> KeyReader<'k> {
    /// The limit's id and a reader of the parts.
    pub fn new(key: &'k [u8]) -> Option<(LimitId, Self)> {
        let (_, parts) = key.split_first_chunk::<4>()?;
        Some((LimitId::of_key(key)?, Self(parts)))
    }

    /// The bytes of the parts that are left.
    pub const fn rest(&self) -> &'k [u8] {
        self.0
    }

    /// The next part.
    pub fn part(&mut self) -> Option<KeyPart<'k>> {
        let (length, rest) = self.0.split_first()?;
        let (part, rest) = match *length {
            DIGEST_MARK => rest.split_first_chunk().map(|(digest, rest)| (KeyPart::Sha256(digest), rest))?,
            ..=MAX_PART_BYTES => {
                rest.split_at_checked(usize::from(*length)).map(|(bytes, rest)| (KeyPart::Bytes(bytes), rest))?
            }
            _ => return None,
        };
        self.0 = rest;
        Some(part)
    }

    /// The next number.
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

type Bytes = SmallVec<[u8; INLINE]>;

/// Keys up to this total length need no heap: one with three values of usual length, or two keys.
const INLINE: usize = 112;
/// The longest part that is not replaced by its hash, in bytes: ids, paths and addresses are shorter.
pub const MAX_PART_BYTES: u8 = 200;
/// In place of a length: a digest of 32 bytes follows.
const DIGEST_MARK: u8 = u8::MAX;
