//! One counter in the file.
//!
//! ```text
//! record  number of the limit in this block, times 4, plus the kind of the state (varint), which is followed by the fingerprint of
//!         the limit (16 bytes; of a request override: 0) if the block has not had it, length of the parts of the key (varint), parts, state
//! cell    kind 0: fresh at (8 bytes, ns), state (varint)
//!         kind 2: state (varint); fresh at the same instant as the cell in front of it in this block
//! log     kind 1: window (8 bytes), end of the ban (8 bytes, 0: none), by an operator (1 byte), number of instants (4 bytes),
//!         for each its time (8 bytes) and its hits (4 bytes)
//! ```
//!
//! Varints are those of Protocol Buffers: each byte of a flush costs. In version 3 of the format the number of the limit is not
//! multiplied, the kind is a byte in front of the state, and there is no kind 2.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use prost::encoding::{decode_varint, encode_varint};

use super::format::OF_SEPARATE_KINDS;
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

/// What a block that is being written has had.
#[derive(Default)]
pub(super) struct Written {
    numbers: HashMap<LimitId, u64, ahash::RandomState>,
    /// Most counters in a row are of the same one.
    last: Option<(LimitId, u64)>,
    /// Of the last cell. Windows of one length end together.
    fresh_at: Option<Timestamp>,
}

impl Written {
    /// Another block begins.
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        (self.last, self.fresh_at) = (None, None);
    }

    /// Adds the number of a limit with the kind of a state, and its fingerprint if the block has not had it. False: it is not known
    /// any more.
    fn push(
        &mut self,
        records: &mut Vec<u8>,
        limit_id: LimitId,
        kind: u64,
        fingerprints: &mut Fingerprints<'_>,
    ) -> bool {
        if let Some((last, number)) = self.last
            && last == limit_id
        {
            push_varint(records, number << KIND_BITS | kind);
            return true;
        }
        let next = self.numbers.len() as u64;
        let number = match self.numbers.entry(limit_id) {
            Entry::Occupied(known) => {
                push_varint(records, known.get() << KIND_BITS | kind);
                *known.get()
            }
            Entry::Vacant(new) => {
                let Some(fingerprint) = fingerprints.of(limit_id) else { return false };
                push_varint(records, next << KIND_BITS | kind);
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
    written: &mut Written,
    fingerprints: &mut Fingerprints<'_>,
    key: &[u8],
    state: StateRef<'_>,
) -> bool {
    let Some((limit_id, parts)) = KeyReader::new(key) else { return false };
    let kind = match state {
        StateRef::Cell(cell) if written.fresh_at == Some(cell.fresh_at()) => CELL_AGAIN,
        StateRef::Cell(_) => CELL,
        StateRef::Log(_) => LOG,
    };
    if !written.push(records, limit_id, kind, fingerprints) {
        return false;
    }
    push_varint(records, parts.rest().len() as u64);
    records.extend_from_slice(parts.rest());
    match state {
        StateRef::Cell(cell) => {
            let (fresh_at, state) = cell.to_parts();
            if kind == CELL {
                records.extend_from_slice(&fresh_at.as_ns().to_le_bytes());
                written.fresh_at = Some(fresh_at);
            }
            push_varint(records, state);
        }
        StateRef::Log(log) => push_log(records, &log.to_parts()),
    }
    true
}

/// Most take one byte.
fn push_varint(records: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => records.push(byte),
        _ => encode_varint(value, records),
    }
}

fn push_log(records: &mut Vec<u8>, log: &LogParts) {
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

/// What a block that is being read has had.
pub(super) struct Taken {
    version: u32,
    /// The limits by their number; `None`: it is not configured any more.
    limits: Vec<Option<LimitId>>,
    /// Of the last cell.
    fresh_at: Option<Timestamp>,
}

impl Taken {
    /// Of a block in a file of this version of the format.
    pub(super) fn new(version: u32) -> Self {
        Self { version, limits: Vec::new(), fresh_at: None }
    }
}

/// Takes the next record from the front of `records`; `None`: it is not one.
pub(super) fn take(records: &mut &[u8], taken: &mut Taken, limits: &LimitTable) -> Option<Record> {
    let is_old = taken.version == OF_SEPARATE_KINDS;
    let head = decode_varint(records).ok()?;
    let number = usize::try_from(if is_old { head } else { head >> KIND_BITS }).ok()?;
    if number == taken.limits.len() {
        let fingerprint = Fingerprint::from_bytes(chunk(records)?);
        let is_override = fingerprint == Fingerprint::OVERRIDE;
        taken.limits.push(if is_override { Some(LimitId::OVERRIDE) } else { limits.id(fingerprint) });
    }
    let limit_id = *taken.limits.get(number)?;
    let length = decode_varint(records).ok()?.try_into().ok()?;
    let parts = split(records, length)?;
    let key = limit_id.map(|limit_id| [&limit_id.number().to_le_bytes()[..], parts].concat());
    let kind = if is_old { u64::from(u8::from_le_bytes(chunk(records)?)) } else { head & KINDS };
    if kind == CELL {
        taken.fresh_at = Some(time(records)?);
    }
    let state = match kind {
        CELL_AGAIN if is_old => return None,
        CELL | CELL_AGAIN => CounterState::Cell(Cell::from_parts(taken.fresh_at?, decode_varint(records).ok()?)),
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

/// The kinds of a state, and the bits that they take.
const CELL: u64 = 0;
const LOG: u64 = 1;
const CELL_AGAIN: u64 = 2;
const KIND_BITS: u32 = 2;
const KINDS: u64 = (1 << KIND_BITS) - 1;
