//! Brings the checks of all workers into the order of time.

use std::sync::Arc;

use super::buffer;
use super::recorded_check::RecordedCheck;
use super::{Recording, Recordings};
use crate::units::{Nanos, Timestamp};

/// How a recording goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingCounts {
    /// Checks that the reader has returned.
    pub recorded: u64,
    /// Checks that were selected and did not fit.
    pub lost: u64,
    /// Checks whose turn in the order of time had passed: their instant is that of the check before them.
    pub late: u64,
}

/// Reads one recording. Dropping it ends the recording.
#[derive(Debug)]
pub struct Reader {
    recordings: Arc<Recordings>,
    recording: Arc<Recording>,
    spare: Vec<u8>,
    /// Taken from the workers, in the order of time.
    pending: Vec<RecordedCheck>,
    /// The instant of the last check that was returned.
    last: Timestamp,
    counts: RecordingCounts,
    is_stopped: bool,
}

impl Reader {
    pub(super) fn new(recordings: Arc<Recordings>, recording: Arc<Recording>) -> Self {
        Self {
            recordings,
            recording,
            spare: buffer::empty(),
            pending: Vec::new(),
            last: Timestamp::EPOCH,
            counts: RecordingCounts::default(),
            is_stopped: false,
        }
    }

    /// The next checks in the order of time, at most [`MAX_BATCH`], those of one instant and worker in the order of their decisions.
    ///
    /// Checks are returned when they are [`HOLD`] old, or once the recording is stopped: a worker may have one that came earlier. Call
    /// it every [`POLL_MS`]: in the meantime the workers' buffers fill up.
    pub fn poll(&mut self, now: Timestamp) -> Vec<RecordedCheck> {
        if self.pending.len() < MAX_PENDING {
            for buffer in &self.recording.buffers {
                buffer.take(&mut self.spare, &mut self.pending);
            }
            // Stable: one worker's checks of one instant keep their order.
            self.pending.sort_by_key(|check| check.at);
        }
        let until = if self.is_stopped { Timestamp::MAX } else { now.minus(HOLD) };
        let due = self.pending.partition_point(|check| check.at <= until).min(MAX_BATCH);
        let mut batch: Vec<_> = self.pending.drain(..due).collect();
        for check in &mut batch {
            if check.at < self.last {
                check.at = self.last;
                self.counts.late += 1;
            }
            self.last = check.at;
        }
        self.counts.recorded += batch.len() as u64;
        batch
    }

    /// Stops to record; what has been recorded can still be read.
    pub fn stop(&mut self) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            self.recordings.end(&self.recording);
        }
    }

    /// How it goes so far.
    pub fn counts(&self) -> RecordingCounts {
        RecordingCounts { lost: self.recording.lost(), ..self.counts }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How long a check is kept for earlier ones of other workers: a batch takes milliseconds, on a busy machine some more.
const HOLD: Nanos = Nanos::from_ns(250_000_000);
/// Milliseconds between two calls of [`Reader::poll`].
pub const POLL_MS: u64 = 20;
/// Checks of one batch, about 200 bytes each.
pub const MAX_BATCH: usize = 1_000;
/// Checks that wait for their turn; with more, the workers' buffers are not emptied. They have room for as many again.
const MAX_PENDING: usize = 100_000;
