//! Reads the counters of the last run.

use std::io::BufReader;

use super::files::{Files, Kind, Name, UNFINISHED};
use super::format::{Block, FormatError, Reader};
use super::record::{self, Record};
use crate::limiter::Limiter;
use crate::runtime::clock::Stopwatch;
use crate::store::Restored as Kept;
use crate::units::{Nanos, Timestamp};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Counters that go on.
    pub(crate) counters: u64,
    /// States that are spent, whose limit is not configured any more, or for which there is no memory.
    pub(crate) dropped: u64,
    /// What was wrong with files that were not read, or not to their end; in words.
    pub(crate) damage: Vec<String>,
    /// Journals that end within a block, as after a crash.
    pub(crate) torn: u64,
    /// When the last block was written.
    pub(crate) latest: Option<Timestamp>,
    /// The generation of the newest file.
    pub(super) generation: u64,
    /// Bytes of the newest snapshot, and of the journals since then.
    pub(super) snapshot_bytes: u64,
    pub(super) journal_bytes: u64,
}

/// Reads the newest snapshot, and the journals since then in their order: a later state of a counter replaces an earlier one.
///
/// Files that are damaged are set aside; what is whole before the damage is used.
pub(super) fn restore<F: Files>(files: &F, limiter: &Limiter, now: Timestamp) -> Restored {
    let mut reading = Reading { limiter, now, restored: Restored::default(), stopwatch: Stopwatch::start(), said: 0 };
    let names = match files.list() {
        Ok(names) => names,
        Err(error) => {
            reading.restored.damage.push(format!("the directory cannot be read: {error}"));
            Vec::new()
        }
    };
    if names.iter().any(|name| name == UNFINISHED) {
        // Of a snapshot that a crash interrupted: the journals have all that it would have.
        let _gone = files.remove(UNFINISHED);
    }
    let mut found: Vec<Name> = names.iter().filter_map(|name| Name::parse(name)).collect();
    found.sort_unstable();
    reading.restored.generation = found.last().map_or(0, |newest| newest.generation);
    let base = reading.base(files, &mut found);
    for (place, name) in found.iter().enumerate() {
        if place < base {
            // The snapshot has all that they have, and a crash came before they were removed.
            let _gone = files.remove(&name.to_string());
            continue;
        }
        reading.file(files, *name);
    }
    reading.restored
}

struct Reading<'l> {
    limiter: &'l Limiter,
    now: Timestamp,
    restored: Restored,
    stopwatch: Stopwatch,
    /// Seconds for which progress was logged.
    said: u64,
}

impl Reading<'_> {
    /// The place of the newest snapshot, or of the first journal. What is before it is not needed: so if there is something, it is read once
    /// more, and set aside if it is not whole.
    fn base<F: Files>(&mut self, files: &F, found: &mut Vec<Name>) -> usize {
        while let Some(base) = found.iter().rposition(|name| name.kind == Kind::Snapshot).filter(|base| *base > 0) {
            let Some(name) = found.get(base).copied() else { break };
            match check(files, name) {
                Ok(()) => return base,
                Err(error) => self.set_aside(files, name, &error),
            }
            found.remove(base);
        }
        0
    }

    fn file<F: Files>(&mut self, files: &F, name: Name) {
        let outcome = files.open(&name.to_string()).map_err(FormatError::Io).and_then(|(input, bytes)| {
            match name.kind {
                Kind::Snapshot => self.restored.snapshot_bytes = bytes,
                Kind::Journal => self.restored.journal_bytes += bytes,
            }
            let reader = Reader::begin(BufReader::with_capacity(1 << 20, input), name.kind, bytes)?;
            self.blocks(reader)
        });
        match (outcome, name.kind) {
            (Ok(()), _) => {}
            (Err(FormatError::Torn), Kind::Journal) => {
                self.restored.torn += 1;
                tracing::info!("{name} ends within a block, as after a crash: what came before it is used");
            }
            (Err(FormatError::Torn), Kind::Snapshot) => self.set_aside(files, name, &FormatError::Damaged),
            (Err(error), _) => self.set_aside(files, name, &error),
        }
    }

    fn blocks<R: std::io::Read>(&mut self, mut reader: Reader<R>) -> Result<(), FormatError> {
        let (limits, version) = (self.limiter.limits(), reader.version());
        while let Some(Block { records, count, at }) = reader.block()? {
            let (mut records, mut taken) = (&records[..], record::Taken::new(version));
            let mut left = usize::try_from(count).unwrap_or(usize::MAX);
            while left > 0 {
                let expected = left.min(TOGETHER);
                let next = (0..expected).map_while(|_| record::take(&mut records, &mut taken, &limits));
                let group: Vec<_> = next.collect();
                left -= expected;
                let is_whole = group.len() == expected;
                self.keep(group);
                if !is_whole {
                    return Err(FormatError::Damaged);
                }
            }
            if !records.is_empty() {
                return Err(FormatError::Damaged);
            }
            self.restored.latest = self.restored.latest.max(Some(at));
            self.say();
        }
        Ok(())
    }

    fn keep(&mut self, group: Vec<Record>) {
        let store = self.limiter.store();
        store.load_kept(group.iter().filter_map(|record| record.key.as_deref()));
        for Record { key, state } in group {
            match key.map(|key| store.restore(self.now, &key, state)) {
                Some(Kept::Added) => self.restored.counters += 1,
                Some(Kept::Replaced) => {}
                Some(Kept::Freed) => self.restored.counters = self.restored.counters.saturating_sub(1),
                Some(Kept::Spent | Kept::NoRoom) | None => self.restored.dropped += 1,
            }
        }
    }

    /// A line about the progress each second.
    fn say(&mut self) {
        let seconds = self.stopwatch.elapsed().as_ns() / Nanos::SECOND.as_ns();
        if seconds > self.said {
            self.said = seconds;
            tracing::info!(counters = self.restored.counters, dropped = self.restored.dropped, "restoring counters");
        }
    }

    /// Renames a file that cannot be used, so that it can be examined and does not stand in the way of the next one.
    fn set_aside<F: Files>(&mut self, files: &F, name: Name, error: &FormatError) {
        let aside = format!("{name}.corrupt-{}", self.now.as_ns() / 1_000_000_000);
        self.restored.damage.push(match files.rename(&name.to_string(), &aside) {
            Ok(()) => format!("{name}: {error}; set aside as {aside}"),
            Err(other) => format!("{name}: {error}; it cannot be set aside: {other}"),
        });
    }
}

/// Whether a file is whole.
fn check<F: Files>(files: &F, name: Name) -> Result<(), FormatError> {
    let (input, bytes) = files.open(&name.to_string())?;
    let mut reader = Reader::begin(BufReader::with_capacity(1 << 20, input), name.kind, bytes)?;
    while reader.block()?.is_some() {}
    Ok(())
}

/// Counters whose places in memory are loaded together before they are restored.
const TOGETHER: usize = 32;
