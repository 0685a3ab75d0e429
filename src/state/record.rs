//! One counter in the file.
//!
//! ```text
//! record  number of the limit in this block (varint), which is followed by the fingerprint of the limit (16 bytes; of a request
//!         override: 0) if the block has not had it, length of the parts of the key (varint), parts, kind (1 byte), state
//! cell    kind 0: fresh at (8 bytes, ns), state (varint)
//! log     kind 1: window (8 bytes), end of the ban (8 bytes, 0: none), by an operator (1 byte), number of instants (4 bytes),
//!         for each its time (8 bytes) and its hits (4 bytes)
//! ```
//!
//! Varints are those of Protocol Buffers: what a flush costs is mostly that of its bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use prost::encoding::{decode_varint, encode_varint};

use crate::engine::{Cell, Log, LogParts};
use crate::limiter::Limiter;
use crate::store::{CounterState, Fingerprint, KeyReader, LimitId, LimitTable, StateRef};
use crate::units::{Nanos, Timestamp};

/// The fingerprints of limits.
pub(super) struct Fingerprints<'l> {
    limiter: &'l Limiter,
    limits: Arc<LimitTable>,
}

impl<'l> Fingerprints<'l> {
    pub(super) fn new(limiter: &'l Limiter) -> Self {
        Self { limiter, limits: limiter.limits() }
    }

    fn of(&mut self, limit_id: LimitId) -> Option<Fingerprint> {
        if limit_id == LimitId::OVERRIDE {
            return Some(Fingerprint::OVERRIDE);
        }
        if self.limits.fingerprint(limit_id).is_none() {
            // A reload has added it.
            self.limits = self.limiter.limits();
        }
        self.limits.fingerprint(limit_id)
    }
}

/// The limits of a block that is being written.
#[derive(Default)]
pub(super) struct BlockLimits {
    numbers: HashMap<LimitId, u64, ahash::RandomState>,
    /// Most counters in a row are of the same one.
    last: Option<(LimitId, u64)>,
}

impl BlockLimits {
    /// Another block begins.
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.last = None;
    }

    /// Adds the number of a limit, and its fingerprint if the block has not had it. False: it is not known any more.
    fn push(&mut self, records: &mut Vec<u8>, limit_id: LimitId, fingerprints: &mut Fingerprints<'_>) -> bool {
        if let Some((last, number)) = self.last
            && last == limit_id
        {
            encode_varint(number, records);
            return true;
        }
        let next = self.numbers.len() as u64;
        let number = match self.numbers.entry(limit_id) {
            Entry::Occupied(known) => {
                encode_varint(*known.get(), records);
                *known.get()
            }
            Entry::Vacant(new) => {
                let Some(fingerprint) = fingerprints.of(limit_id) else { return false };
                encode_varint(next, records);
                records.extend_from_slice(&fingerprint.to_bytes());
                *new.insert(next)
            }
        };
        self.last = Some((limit_id, number));
        true
    }
}

/// Adds the record of a counter. False: its limit is not known any more, or its key is none.
pub(super) fn push(
    records: &mut Vec<u8>,
    limits: &mut BlockLimits,
    fingerprints: &mut Fingerprints<'_>,
    key: &[u8],
    state: StateRef<'_>,
) -> bool {
    let Some((limit_id, parts)) = KeyReader::new(key) else { return false };
    if !limits.push(records, limit_id, fingerprints) {
        return false;
    }
    encode_varint(parts.rest().len() as u64, records);
    records.extend_from_slice(parts.rest());
    match state {
        StateRef::Cell(cell) => {
            let (fresh_at, state) = cell.to_parts();
            records.push(CELL);
            records.extend_from_slice(&fresh_at.as_ns().to_le_bytes());
            encode_varint(state, records);
        }
        StateRef::Log(log) => push_log(records, &log.to_parts()),
    }
    true
}

fn push_log(records: &mut Vec<u8>, log: &LogParts) {
    records.push(LOG);
    records.extend_from_slice(&log.window.as_ns().to_le_bytes());
    records.extend_from_slice(&log.banned_until.map_or(0, Timestamp::as_ns).to_le_bytes());
    records.push(u8::from(log.by_operator));
    records.extend_from_slice(&u32::try_from(log.hits.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (at, count) in &log.hits {
        records.extend_from_slice(&at.as_ns().to_le_bytes());
        records.extend_from_slice(&count.to_le_bytes());
    }
}

/// A record: the key of the counter in this process, if its limit is configured, and its state.
pub(super) struct Record {
    pub(super) key: Option<Vec<u8>>,
    pub(super) state: CounterState,
}

/// The limits of a block that is being read, by their number; `None`: it is not configured any more.
pub(super) type ReadLimits = Vec<Option<LimitId>>;

/// Takes the next record from the front of `records`; `None`: it is not one.
pub(super) fn take(records: &mut &[u8], block: &mut ReadLimits, limits: &LimitTable) -> Option<Record> {
    let number = length(records)?;
    if number == block.len() {
        let fingerprint = Fingerprint::from_bytes(chunk(records)?);
        let is_override = fingerprint == Fingerprint::OVERRIDE;
        block.push(if is_override { Some(LimitId::OVERRIDE) } else { limits.id(fingerprint) });
    }
    let limit_id = *block.get(number)?;
    let length = length(records)?;
    let parts = split(records, length)?;
    let key = limit_id.map(|limit_id| [&limit_id.number().to_le_bytes()[..], parts].concat());
    let [kind] = chunk(records)?;
    let state = match kind {
        CELL => CounterState::Cell(Cell::from_parts(time(records)?, decode_varint(records).ok()?)),
        LOG => CounterState::Log(Box::new(take_log(records)?)),
        _ => return None,
    };
    Some(Record { key, state })
}

fn take_log(records: &mut &[u8]) -> Option<Log> {
    let window = Nanos::from_ns(u64::from_le_bytes(chunk(records)?));
    let banned_until = Some(time(records)?).filter(|until| *until > Timestamp::EPOCH);
    let [by_operator] = chunk(records)?;
    let count = usize::try_from(u32::from_le_bytes(chunk(records)?)).ok()?;
    // Each takes 12 bytes, so a number that is too large is found before memory is taken for it.
    if count > records.len() / 12 {
        return None;
    }
    let mut hits = Vec::with_capacity(count);
    for _ in 0..count {
        hits.push((time(records)?, u32::from_le_bytes(chunk(records)?)));
    }
    Log::from_parts(LogParts { hits, banned_until, by_operator: by_operator != 0, window })
}

fn length(records: &mut &[u8]) -> Option<usize> {
    decode_varint(records).ok()?.try_into().ok()
}

fn time(records: &mut &[u8]) -> Option<Timestamp> {
    chunk(records).map(|bytes| Timestamp::from_ns(u64::from_le_bytes(bytes)))
}

fn chunk<const N: usize>(records: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = records.split_first_chunk()?;
    *records = rest;
    Some(*chunk)
}

fn split<'r>(records: &mut &'r [u8], length: usize) -> Option<&'r [u8]> {
    let (part, rest) = records.split_at_checked(length)?;
    *records = rest;
    Some(part)
}

/// The kinds of a state.
const CELL: u8 = 0;
const LOG: u8 = 1;
