//! Recordings: bounded samples of live checks, in the order of time.
//!
//! ```text
//! Batch::decide --offer--> Selection --> one buffer for each worker --Reader::poll--> checks in the order of time
//!                                                                                         '--> ValueHashes
//! ```
//! While nothing is recorded, a decision costs one load more. While something is, a worker copies the message of a selected
//! check to its own buffer. It never waits: what does not fit is only counted.

mod buffer;
mod reader;
mod recorded_check;
mod selection;
mod value_hashes;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::limiter::{Check, WorkerSlot};
use crate::units::Timestamp;

use buffer::WorkerBuffer;
pub use reader::{MAX_BATCH, POLL_MS, Reader, RecordingCounts};
pub use recorded_check::RecordedCheck;
pub use selection::Selection;
pub use value_hashes::{NoRandomness, ValueHashes};

/// All recordings of the process.
#[derive(Debug)]
pub struct Recordings {
    /// The length of `running`: all that a decision reads while nothing is recorded.
    count: AtomicUsize,
    running: ArcSwap<Vec<Arc<Recording>>>,
    /// Locked while a recording begins or ends.
    changing: Mutex<()>,
    workers: usize,
    /// Of recordings that have ended.
    recorded_before: AtomicU64,
    lost_before: AtomicU64,
}

/// One recording: what it takes, and what it has taken.
#[derive(Debug)]
struct Recording {
    selection: Selection,
    /// By worker.
    buffers: Vec<WorkerBuffer>,
}

/// Too many recordings run.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{MAX_RECORDINGS} recordings are running, more are not possible: try again later")]
pub struct TooManyRecordings;

impl Recordings {
    /// Without a recording; for this number of workers.
    pub fn new(workers: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            running: ArcSwap::default(),
            changing: Mutex::new(()),
            workers,
            recorded_before: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
        }
    }

    /// Whether something is recorded. Cost: one relaxed load.
    pub fn is_on(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Offers a check that `worker` has decided, and the message that it was read from, to each recording.
    ///
    /// Cost: that of the selection, and a copy of the message. No lock is waited for.
    #[cold]
    pub fn offer(&self, worker: WorkerSlot, now: Timestamp, check: &Check<'_>, message: &[u8]) {
        for recording in self.running.load().iter() {
            let Some(buffer) = recording.buffers.get(worker.0) else { continue };
            if recording.selection.takes(check, || buffer.random()) {
                buffer.push(now, check.timeout, message);
            }
        }
    }

    /// Begins a recording, which ends when its reader is dropped.
    ///
    /// # Errors
    /// [`MAX_RECORDINGS`] of them run.
    pub fn start(self: &Arc<Self>, selection: Selection) -> Result<Reader, TooManyRecordings> {
        let _changing = self.changing.lock();
        let running = self.running.load();
        if running.len() >= MAX_RECORDINGS {
            return Err(TooManyRecordings);
        }
        let buffers = (0..self.workers).map(WorkerBuffer::new).collect();
        let recording = Arc::new(Recording { selection, buffers });
        let all: Vec<_> = running.iter().chain([&recording]).cloned().collect();
        self.put(all);
        Ok(Reader::new(Arc::clone(self), recording))
    }

    /// The number of recordings that run.
    pub fn running(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The checks that were recorded, and those that were lost, since the start.
    pub fn totals(&self) -> (u64, u64) {
        let _changing = self.changing.lock();
        let mut totals = (self.recorded_before.load(Ordering::Relaxed), self.lost_before.load(Ordering::Relaxed));
        for recording in self.running.load().iter() {
            totals.0 += recording.taken();
            totals.1 += recording.lost();
        }
        totals
    }

    /// Ends a recording: nothing more is offered to it.
    fn end(&self, recording: &Arc<Recording>) {
        let _changing = self.changing.lock();
        let running = self.running.load();
        let left: Vec<_> = running.iter().filter(|other| !Arc::ptr_eq(other, recording)).cloned().collect();
        if left.len() < running.len() {
            self.recorded_before.fetch_add(recording.taken(), Ordering::Relaxed);
            self.lost_before.fetch_add(recording.lost(), Ordering::Relaxed);
            self.put(left);
        }
    }

    fn put(&self, recordings: Vec<Arc<Recording>>) {
        let count = recordings.len();
        self.running.store(Arc::new(recordings));
        self.count.store(count, Ordering::Relaxed);
    }
}

impl Recording {
    /// The checks that were copied to the buffers.
    fn taken(&self) -> u64 {
        self.buffers.iter().map(WorkerBuffer::taken).sum()
    }

    /// The checks that were selected, and did not fit.
    fn lost(&self) -> u64 {
        self.buffers.iter().map(WorkerBuffer::lost).sum()
    }
}

/// Recordings at the same time: each takes two buffers of each worker, and copies of its checks.
const MAX_RECORDINGS: usize = 4;
