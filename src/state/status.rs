//! How writing the counters goes.

use std::io;
use std::path::{Path, PathBuf};

use super::flusher::Flushed;
use super::read::Restored;
use crate::units::{Nanos, Timestamp};

/// How writing the counters goes, for metrics and probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateStatus {
    /// Where they are written.
    directory: PathBuf,
    /// States restored at the start, and those dropped.
    pub(crate) restored: u64,
    pub(crate) dropped: u64,
    /// Files set aside at the start; in words.
    pub(crate) damage: Vec<String>,
    /// The same of the settings.
    pub(crate) settings_damage: Option<String>,
    /// Flushes that succeeded and failed.
    pub(crate) flushes: u64,
    pub(crate) failures: u64,
    /// Bytes written.
    pub(crate) bytes: u64,
    /// Counters written.
    pub(crate) counters: u64,
    /// When the last successful flush was done, and how long it took.
    pub(crate) last_flush: Timestamp,
    pub(crate) last_duration: Nanos,
    /// Why nothing is written now.
    pub(crate) failure: Option<String>,
}

impl StateStatus {
    pub(super) fn begin(directory: &Path, restored: &Restored, now: Timestamp) -> Self {
        let Restored { counters, dropped, damage, .. } = restored.clone();
        Self {
            directory: directory.to_owned(),
            restored: counters,
            dropped,
            damage,
            last_flush: now,
            ..Self::default()
        }
    }

    pub(super) fn note(&mut self, outcome: io::Result<Flushed>, now: Timestamp, took: Nanos) {
        match outcome {
            Ok(Flushed { counters, bytes, is_behind }) => {
                if !is_behind && self.failure.take().is_some() {
                    tracing::info!("the counters are written again: a crash loses at most --state-flush");
                }
                self.flushes += 1;
                self.bytes += bytes;
                self.counters += counters;
                if !is_behind {
                    self.last_flush = now;
                }
                self.last_duration = took;
            }
            Err(error) => {
                if self.failure.is_none() {
                    tracing::error!(
                        %error, directory = %self.directory.display(),
                        "the counters cannot be written: decisions are not affected, but a crash now loses them"
                    );
                }
                self.fail(&error);
            }
        }
    }

    /// Notes that nothing more can be written: the process ends.
    pub(super) fn end(&mut self, error: &io::Error) {
        tracing::error!(
            %error, directory = %self.directory.display(),
            "not all counters are kept: the next start has them as they were last written"
        );
        self.fail(error);
    }

    fn fail(&mut self, error: &io::Error) {
        self.failures += 1;
        self.failure = Some(error.to_string());
    }
}
