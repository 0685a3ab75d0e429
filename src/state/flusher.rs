//! Writes what has changed: a journal, and from time to time a snapshot that takes the place of the journals before it.
//!
//! ```text
//! Memory --take_changed--> counters.7.journal --too long--> counters.8.journal, and meanwhile counters.8.snapshot
//! ```
//!
//! A snapshot is written in small steps between flushes, which go to the journal of its generation. A counter that is changed after
//! it was copied is in that journal too, and later: so the two together are complete as soon as the snapshot has its name.
//!
//! When the disk fails, nothing is noted and nothing is written until a whole snapshot can be; decisions go on.

use std::io;
use std::sync::Arc;

use super::files::{Files, Kind, Name, UNFINISHED};
use super::format::{BLOCK_HEAD, Writer};
use super::read::Restored;
use super::record::{self, Fingerprints, Written};
use crate::limiter::Limiter;
use crate::store::{StateRef, TakingRoom};
use crate::units::{Nanos, Timestamp};

/// Writes the counters of a limiter.
pub(super) struct Flusher<F: Files> {
    files: F,
    limiter: Arc<Limiter>,
    /// Counters that end within this time are not written.
    horizon: Nanos,
    /// The generation of the journal, or of the last one.
    generation: u64,
    /// `None`: the disk has failed.
    journal: Option<Writer<F::File>>,
    snapshot: Option<Snapshot<F::File>>,
    /// Bytes of the last snapshot, and of the journals since then.
    snapshot_bytes: u64,
    journal_bytes: u64,
    /// The next snapshot is due now.
    is_due: bool,
    /// Empty between flushes, kept for their allocation.
    records: Records,
    /// The same.
    taking: TakingRoom,
}

/// A snapshot that is being written.
struct Snapshot<W: io::Write> {
    writer: Writer<W>,
    /// Those that are not written yet.
    records: Records,
    /// The next step of the store.
    next: usize,
}

/// What a flush has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flushed {
    pub(super) counters: u64,
    pub(super) bytes: u64,
    /// Some of what was changed while the disk failed, or was set aside at the start, is not written yet: a snapshot will have it.
    pub(super) is_behind: bool,
}

impl<F: Files> Flusher<F> {
    /// Begins a journal after what was restored.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn begin(files: F, limiter: Arc<Limiter>, horizon: Nanos, restored: &Restored) -> io::Result<Self> {
        let mut flusher = Self {
            files,
            limiter,
            horizon,
            generation: restored.generation,
            journal: None,
            snapshot: None,
            snapshot_bytes: restored.snapshot_bytes,
            journal_bytes: restored.journal_bytes,
            // What was set aside is in no file any more.
            is_due: !restored.damage.is_empty(),
            records: Records::default(),
            taking: TakingRoom::default(),
        };
        flusher.begin_journal()?;
        flusher.limiter.store().track_changes(true);
        Ok(flusher)
    }

    /// Writes what has changed, and returns when it is on the disk; then goes on with a snapshot while `has_time` says so, or for
    /// [`LEAST_STEPS`]. `pause` is called again and again meanwhile, and may let others work.
    ///
    /// # Errors
    /// The disk has failed. Each later call tries to write a snapshot.
    pub(super) fn flush(
        &mut self,
        now: Timestamp,
        mut has_time: impl FnMut() -> bool,
        mut pause: impl FnMut(),
    ) -> io::Result<Flushed> {
        let outcome = self.try_flush(now, &mut has_time, &mut pause);
        if outcome.is_err() {
            self.limiter.store().track_changes(false);
            (self.journal, self.snapshot, self.is_due) = (None, None, true);
        }
        outcome
    }

    fn try_flush(
        &mut self,
        now: Timestamp,
        has_time: &mut impl FnMut() -> bool,
        pause: &mut impl FnMut(),
    ) -> io::Result<Flushed> {
        self.check_journal()?;
        if self.journal.is_none() {
            self.begin_journal()?;
            // Before the snapshot begins, so that it or the journal has every change.
            self.limiter.store().track_changes(true);
        }
        let mut flushed = self.write_changed(now, &mut *pause)?;
        let is_long = self.journal_bytes > LEAST_JOURNAL.max(self.snapshot_bytes.saturating_mul(JOURNAL_RATIO));
        if self.snapshot.is_none() && (self.is_due || is_long) {
            self.begin_snapshot()?;
        }
        let mut steps = 0;
        while let Some(snapshot) = &mut self.snapshot {
            let is_done = snapshot.step(&self.limiter, now)?;
            steps += 1;
            if is_done {
                let last = self.write_changed(now, &mut *pause)?;
                flushed.counters += last.counters;
                flushed.bytes += last.bytes + self.end_snapshot(now)?;
            } else if steps >= LEAST_STEPS && !has_time() {
                break;
            }
            pause();
        }
        Ok(Flushed { is_behind: self.is_due, ..flushed })
    }

    /// The next flush begins a snapshot.
    #[cfg(test)]
    pub(super) fn begin_snapshot_now(&mut self) {
        self.journal_bytes = u64::MAX;
    }

    /// Writes all counters, for an orderly stop: nothing is changed any more.
    ///
    /// # Errors
    /// The disk fails. What was flushed before stays.
    pub(super) fn finish(mut self, now: Timestamp) -> io::Result<Flushed> {
        self.limiter.store().track_changes(false);
        // If there is no room for a snapshot, the journal has it all.
        self.write_changed(now, || {})?;
        self.snapshot = None;
        self.generation += 1;
        self.start_snapshot()?;
        let mut counters = 0;
        while let Some(snapshot) = &mut self.snapshot {
            if snapshot.step(&self.limiter, now)? {
                counters = u64::from(snapshot.writer.records());
                break;
            }
        }
        let bytes = self.end_snapshot(now)?;
        Ok(Flushed { counters, bytes, is_behind: false })
    }

    /// What is written to a file that another program has removed is lost.
    ///
    /// # Errors
    /// The journal was removed, or replaced.
    fn check_journal(&mut self) -> io::Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let name = journal_name(self.generation);
        if self.files.leads_to(&name, journal.out())? {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("another program has removed {name}")))
        }
    }

    fn begin_journal(&mut self) -> io::Result<()> {
        let generation = self.generation + 1;
        let name = journal_name(generation);
        let begun = self.create_journal(&name, generation);
        if begun.is_err() {
            // A disk that fails for long must not fill with empty files.
            let _gone = self.files.remove(&name);
        }
        self.journal = Some(begun?);
        self.generation = generation;
        Ok(())
    }

    fn create_journal(&self, name: &str, generation: u64) -> io::Result<Writer<F::File>> {
        let mut journal = Writer::begin(self.files.create(name)?, generation)?;
        self.files.sync(journal.out())?;
        self.files.sync_names()?;
        Ok(journal)
    }

    /// Begins a snapshot, with a journal of its generation.
    fn begin_snapshot(&mut self) -> io::Result<()> {
        self.begin_journal()?;
        self.start_snapshot()
    }

    fn start_snapshot(&mut self) -> io::Result<()> {
        let writer = Writer::begin(self.files.create(UNFINISHED)?, self.generation)?;
        self.snapshot = Some(Snapshot { writer, records: Records::default(), next: 0 });
        Ok(())
    }

    /// Gives the snapshot its name, and removes what it takes the place of. Returns its bytes.
    fn end_snapshot(&mut self, now: Timestamp) -> io::Result<u64> {
        let Some(Snapshot { writer, .. }) = self.snapshot.take() else { return Ok(0) };
        let (mut out, bytes) = writer.finish(now)?;
        self.files.sync(&mut out)?;
        let name = Name { generation: self.generation, kind: Kind::Snapshot };
        self.files.rename(UNFINISHED, &name.to_string())?;
        self.files.sync_names()?;
        for known in self.files.list()?.iter().filter_map(|known| Name::parse(known)).filter(|known| *known < name) {
            // One that stays is removed at the next start.
            let _gone = self.files.remove(&known.to_string());
        }
        self.snapshot_bytes = bytes;
        self.journal_bytes = self.journal.as_ref().map_or(0, Writer::bytes);
        self.is_due = false;
        Ok(bytes)
    }

    fn write_changed(&mut self, now: Timestamp, mut pause: impl FnMut()) -> io::Result<Flushed> {
        let Some(journal) = &mut self.journal else { return Ok(Flushed::default()) };
        let (store, until) = (self.limiter.store(), now.plus(self.horizon));
        let (before, mut counters) = (journal.bytes(), 0);
        let (records, mut fingerprints) = (&mut self.records, Fingerprints::new(&self.limiter));
        // What a failed flush has left is in the next snapshot.
        records.clear();
        for step in 0..store.export_steps() {
            store.take_changed(step, now, until, &mut self.taking, |key, state| {
                counters += records.add(&mut fingerprints, key, state);
            });
            if records.bytes.len() >= BLOCK_BYTES {
                records.write(journal, now)?;
            }
            pause();
        }
        records.write(journal, now)?;
        let bytes = journal.bytes() - before;
        if bytes > 0 {
            self.files.sync(journal.out())?;
        }
        self.journal_bytes = self.journal_bytes.saturating_add(bytes);
        Ok(Flushed { counters, bytes, is_behind: false })
    }
}

fn journal_name(generation: u64) -> String {
    Name { generation, kind: Kind::Journal }.to_string()
}

impl<W: io::Write> Snapshot<W> {
    /// Adds the counters of the next step. Returns whether it was the last one.
    fn step(&mut self, limiter: &Limiter, now: Timestamp) -> io::Result<bool> {
        let (store, mut fingerprints) = (limiter.store(), Fingerprints::new(limiter));
        store.write_step(self.next, now, |key, state| {
            self.records.add(&mut fingerprints, key, state);
        });
        self.next += 1;
        let is_last = self.next >= store.export_steps();
        if is_last || self.records.bytes.len() >= BLOCK_BYTES {
            self.records.write(&mut self.writer, now)?;
        }
        Ok(is_last)
    }
}

/// Records in blocks, each with room for its head in front of them, so that they are written from where they are.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    count: u32,
    /// Where the bytes are divided into blocks: with the number of records before it.
    cuts: Vec<(usize, u32)>,
    /// In the last of these blocks.
    written: Written,
}

impl Records {
    /// Adds that of a counter. Returns how many were added.
    fn add(&mut self, fingerprints: &mut Fingerprints<'_>, key: &[u8], state: StateRef<'_>) -> u64 {
        let begin = self.cuts.last().map_or(0, |(at, _)| *at);
        if self.bytes.len() == begin {
            self.bytes.extend_from_slice(&[0; BLOCK_HEAD]);
        }
        let is_added = record::push(&mut self.bytes, &mut self.written, fingerprints, key, state);
        self.count += u32::from(is_added);
        if self.bytes.len() - begin >= BLOCK_BYTES {
            self.cuts.push((self.bytes.len(), self.count));
            self.written.clear();
        }
        is_added.into()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.cuts.clear();
        self.written.clear();
        self.count = 0;
    }

    fn write<W: io::Write>(&mut self, writer: &mut Writer<W>, at: Timestamp) -> io::Result<()> {
        let (mut begin, mut written) = (0, 0);
        for (end, count) in self.cuts.drain(..).chain([(self.bytes.len(), self.count)]) {
            if let Some(block) = self.bytes.get_mut(begin..end).filter(|block| block.len() > BLOCK_HEAD) {
                writer.block(block, count - written, at)?;
            }
            (begin, written) = (end, count);
        }
        self.clear();
        Ok(())
    }
}

/// A block is written when it has grown to this; a log of the longest kind may make it four times as long.
const BLOCK_BYTES: usize = 256 << 10;
/// Below this, journals are not too long, however small the snapshot is.
const LEAST_JOURNAL: u64 = 16 << 20;
/// The length of journals next to the last snapshot before another one is written: the longer, the less often all counters are
/// written, and the longer a start reads after a crash.
const JOURNAL_RATIO: u64 = 2;
/// The steps of a snapshot in a flush that has no time for more. So it takes at most 16 flushes, and the journal that grows meanwhile has
/// each counter at most as often.
pub(super) const LEAST_STEPS: usize = 64;
