//! The buffer of one worker: selected checks as they came, until the reader takes them.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::recorded_check::RecordedCheck;
use crate::units::{Nanos, Timestamp};

/// A buffer that one worker writes and one reader takes. All numbers are written by the worker alone.
#[derive(Debug)]
pub(super) struct WorkerBuffer {
    /// The worker writes the first, and the second while the reader has the first or it is full. The reader takes one after the other, so
    /// that checks keep their order, and never has both, so that the worker never waits and loses nothing for it.
    halves: [Mutex<Vec<u8>>; 2],
    taken: AtomicU64,
    lost: AtomicU64,
    random: AtomicU64,
}

impl WorkerBuffer {
    /// The buffer of the worker with this number. Its memory is used up only as it is filled.
    pub(super) fn new(worker: usize) -> Self {
        Self {
            halves: [Mutex::new(empty()), Mutex::new(empty())],
            taken: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            random: AtomicU64::new(worker as u64),
        }
    }

    /// The next random number (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    pub(super) fn random(&self) -> u64 {
        let state = self.random.load(Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.store(state, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Adds a check, or counts it as lost: if it does not fit, or is too long.
    pub(super) fn push(&self, at: Timestamp, timeout: Option<Nanos>, message: &[u8]) {
        let fits = |bytes: &Vec<u8>| bytes.len() + HEAD_BYTES + message.len() <= HALF_BYTES;
        let mut free = self.halves.iter().filter_map(Mutex::try_lock);
        let bytes = free.find(|bytes| message.len() <= MAX_MESSAGE_BYTES && fits(bytes));
        let Some(mut bytes) = bytes else { return add(&self.lost) };
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&at.as_ns().to_le_bytes());
        bytes.extend_from_slice(&timeout.map_or(NO_TIMEOUT, Nanos::as_ns).to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(message);
        add(&self.taken);
    }

    /// Takes what is in the buffer, and leaves `spare` in its place, which is then emptied.
    pub(super) fn take(&self, spare: &mut Vec<u8>, out: &mut Vec<RecordedCheck>) {
        for half in &self.halves {
            spare.clear();
            std::mem::swap(&mut *half.lock(), spare);
            let mut rest = spare.as_slice();
            while let Some((check, after)) = read(rest) {
                out.push(check);
                rest = after;
            }
        }
        spare.clear();
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// An empty half of a buffer, which never grows.
pub(super) fn empty() -> Vec<u8> {
    Vec::with_capacity(HALF_BYTES)
}

fn read(bytes: &[u8]) -> Option<(RecordedCheck, &[u8])> {
    let (at, bytes) = bytes.split_first_chunk()?;
    let (timeout, bytes) = bytes.split_first_chunk()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (message, rest) = bytes.split_at_checked(length)?;
    let timeout = Some(u64::from_le_bytes(*timeout)).filter(|timeout| *timeout != NO_TIMEOUT).map(Nanos::from_ns);
    let at = Timestamp::from_ns(u64::from_le_bytes(*at));
    Some((RecordedCheck { at, timeout, message: message.into() }, rest))
}

/// Adds one to a count that only one thread writes.
fn add(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The buffer of one worker: 6,000 checks with three entries each, and the reader comes every 20 ms.
const MAX_BUFFER_BYTES: usize = 1 << 20;
const HALF_BYTES: usize = MAX_BUFFER_BYTES / 2;
/// The longest check that is recorded: one of 1,000 descriptors takes about that.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Instant, timeout and length of a check.
const HEAD_BYTES: usize = 8 + 8 + 4;
const NO_TIMEOUT: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_while_the_reader_has_a_half_and_the_order_is_kept() {
        let buffer = WorkerBuffer::new(0);
        let push = |number: u64| buffer.push(Timestamp::from_ns(number), None, b"x");
        push(1);
        {
            let _reading = buffer.halves[0].lock();
            push(2);
        }
        push(3);
        let mut out = Vec::new();
        let mut spare = empty();
        buffer.take(&mut spare, &mut out);
        {
            let _reading = buffer.halves[1].lock();
            push(4);
        }
        buffer.take(&mut spare, &mut out);
        out.sort_by_key(|check| check.at);
        assert_eq!(out.iter().map(|check| check.at.as_ns()).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!((buffer.taken(), buffer.lost()), (4, 0));
    }
}
