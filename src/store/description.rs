//! Descriptions of limits that are the same in every process with the same rules.
//!
//! Ids in keys are short and belong to one process. A description is the identity of a limit, and its [`Fingerprint`] that
//! identity in 16 bytes. The hashed encoding is a stable format: change it only together with [`VERSION`].

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::calendar::{Calendar, day_name};
use crate::engine::{Algorithm, Limit, Starts};
use crate::units::Nanos;

/// The path of a rule, by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleDescription {
    /// The domain's name.
    pub domain: Box<str>,
    /// The levels from the domain down to the rule.
    pub levels: Box<[LevelDescription]>,
}

/// One level of a rule's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelDescription {
    /// The configured key, or pattern of keys.
    pub key: Box<str>,
    /// The configured value or pattern; empty when the level takes any value.
    pub value: Box<str>,
    /// The entry's key is a part of the counter's key.
    pub key_varies: bool,
    /// The entry's value is a part of the counter's key.
    pub value_varies: bool,
}

/// One limit of a rule. Its number is not a part of it, so that a changed number keeps the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitDescription {
    /// The rule.
    pub rule: Arc<RuleDescription>,
    /// How hits are counted.
    pub kind: LimitKind,
    /// The number among the rule's limits of this kind, from 1.
    pub ordinal: u32,
}

/// The meaning of the state of a limit's counters.
///
/// A count in one window has no meaning in another, so the window is a part of it. The missing hits of a bucket have the same
/// meaning at any rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// One count per window.
    FixedWindow {
        /// When windows begin.
        starts: Starts,
        /// Their length; of a calendar the usual one.
        window: Nanos,
    },
    /// Two adjacent windows of this length.
    SlidingWindow(Nanos),
    /// Every hit within this length.
    SlidingLog(Nanos),
    /// A bucket.
    TokenBucket,
}

/// 16 bytes that identify a rule or a limit in every process.
///
/// Half of a SHA-256: two different descriptions with the same fingerprint are not to be expected, and only the author of the
/// rules could search for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

/// The whole hash of a limit's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

impl From<&Limit> for LimitKind {
    fn from(limit: &Limit) -> Self {
        match limit.algorithm {
            Algorithm::FixedWindow { starts } => Self::FixedWindow { starts, window: limit.window },
            Algorithm::SlidingWindow => Self::SlidingWindow(limit.window),
            Algorithm::SlidingLog => Self::SlidingLog(limit.window),
            Algorithm::TokenBucket { .. } => Self::TokenBucket,
        }
    }
}

impl RuleDescription {
    /// The fingerprint of the rule as a whole, independent of its limits. Cost: a SHA-256.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut encoding = Encoding::new(RULE);
        encoding.rule(self);
        encoding.finish().fingerprint()
    }
}

impl LimitDescription {
    /// The fingerprint. Cost: a SHA-256.
    pub fn fingerprint(&self) -> Fingerprint {
        self.digest().fingerprint()
    }

    pub(super) fn digest(&self) -> Digest {
        let (tag, window) = match self.kind {
            LimitKind::FixedWindow { starts: Starts::Calendar(calendar), .. } => return self.calendar_digest(calendar),
            LimitKind::FixedWindow { starts: Starts::Clock, window } => (1, window),
            LimitKind::FixedWindow { starts: Starts::FirstRequest, window } => (2, window),
            LimitKind::SlidingWindow(window) => (3, window),
            LimitKind::SlidingLog(window) => (4, window),
            LimitKind::TokenBucket => (5, Nanos::ZERO),
        };
        let mut encoding = Encoding::new(LIMIT);
        encoding.rule(&self.rule);
        encoding.byte(tag);
        encoding.number(window.as_ns());
        encoding.number(self.ordinal.into());
        encoding.finish()
    }

    /// Of a calendar, the names that identify it are in place of a length.
    fn calendar_digest(&self, calendar: &Calendar) -> Digest {
        let mut encoding = Encoding::new(LIMIT);
        encoding.rule(&self.rule);
        encoding.byte(6);
        encoding.text(calendar.unit().name());
        encoding.text(day_name(calendar.first_day()));
        encoding.text(calendar.zone());
        encoding.number(self.ordinal.into());
        encoding.finish()
    }
}

impl Fingerprint {
    /// Used for request overrides in place of a rule; no rule has it.
    pub const OVERRIDE: Self = Self([0; 16]);

    /// The bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// A fingerprint from the bytes of [`Fingerprint::to_bytes`].
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl Digest {
    pub(super) fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.0.first_chunk().copied().unwrap_or_default())
    }

    /// The hash as eight numbers.
    pub(super) fn words(self) -> impl Iterator<Item = u32> {
        let (words, _) = self.0.as_chunks();
        let words: [u32; 8] = std::array::from_fn(|i| words.get(i).map_or(0, |word| u32::from_le_bytes(*word)));
        words.into_iter()
    }
}

/// The encoding that is hashed: each text is preceded by its length, so different descriptions have different encodings.
struct Encoding(Sha256);

impl Encoding {
    fn new(what: u8) -> Self {
        let mut encoding = Self(Sha256::new());
        encoding.0.update([VERSION, what]);
        encoding
    }

    fn rule(&mut self, rule: &RuleDescription) {
        self.text(&rule.domain);
        self.number(rule.levels.len() as u64);
        for level in &rule.levels {
            self.byte(u8::from(level.key_varies) | u8::from(level.value_varies) << 1);
            self.text(&level.key);
            self.text(&level.value);
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn byte(&mut self, byte: u8) {
        self.0.update([byte]);
    }

    fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The version of the encoding.
const VERSION: u8 = 1;
/// What is encoded: a rule, or one of its limits.
const RULE: u8 = 0;
const LIMIT: u8 = 1;
