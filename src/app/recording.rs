//! `serve --record FILE`: a recording of every check from the start on, into a file of this machine.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::process::Process;
use crate::api::usage::time;
use crate::limiter::{Limiter, View};
use crate::operations::{Author, Operations};
use crate::recording::{MAX_BATCH, POLL_MS, Reader, Selection, ValueHashes};
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Wait, Worker};
use crate::settings::UsageSettings;
use crate::simulate::{Note, TraceFile, TraceFileError};

/// Records until it is stopped, the number of checks is reached, or the file cannot be written.
struct FileRecording {
    reader: Reader,
    file: TraceFile,
    hashes: Option<ValueHashes>,
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    operations: Arc<Operations>,
    left: u64,
    checks: u64,
    rematched: u64,
}

/// Starts the recording that the settings ask for. A file that cannot be used is logged: the service does not depend on it.
///
/// # Errors
/// The system cannot start another thread.
pub(super) fn start(settings: &UsageSettings, process: &Process) -> io::Result<Option<Worker>> {
    let Some(path) = &settings.record else { return Ok(None) };
    match FileRecording::begin(path, settings, process) {
        Ok(recording) => Worker::spawn("tidegate-record", move |stop| {
            recording.run(|| stop.wait(Duration::from_millis(POLL_MS)) == Wait::Stopped);
        })
        .map(Some),
        Err(error) => {
            tracing::error!("--record {error}: nothing is recorded");
            Ok(None)
        }
    }
}

impl FileRecording {
    fn begin(path: &Path, settings: &UsageSettings, process: &Process) -> Result<Self, String> {
        let mut file = TraceFile::create(path, false).map_err(|error| match error {
            TraceFileError::Exists(path) => format!("{}: the file exists", path.display()),
            other @ TraceFileError::Io(..) => other.to_string(),
        })?;
        let hashes = settings.record_hash_values.then(ValueHashes::new).transpose();
        let hashes = hashes.map_err(|error| error.to_string())?;
        let reader = process.recordings.start(Selection::everything()).map_err(|error| error.to_string())?;
        let began = jiff::Timestamp::from_second(time(process.clock.now()).seconds).map(|at| at.to_string());
        let began = began.unwrap_or_default();
        let note = Note { began, one_in: 1, hashed: hashes.is_some(), ..Note::default() };
        file.add_note(&note).and_then(|()| file.flush()).map_err(|error| error.to_string())?;
        let operations = Arc::clone(&process.operations);
        let what = format!("--record {}, at most {} checks", path.display(), settings.record_max_checks);
        operations.recording_starts(&[], &what, &author());
        Ok(Self {
            reader,
            file,
            hashes,
            limiter: Arc::clone(&process.limiter),
            clock: Arc::clone(&process.clock),
            operations,
            left: settings.record_max_checks,
            checks: 0,
            rematched: 0,
        })
    }

    /// Records until `stops` returns true, which waits for a moment.
    fn run(mut self, mut stops: impl FnMut() -> bool) {
        let mut ended = Ok("stopped with the server");
        while self.left > 0 && !stops() {
            ended = self.write().map(|_| "stopped with the server");
            if ended.is_err() {
                break;
            }
        }
        self.reader.stop();
        while ended.is_ok() && self.left > 0 {
            match self.write() {
                Ok(written) if written < MAX_BATCH => break,
                Ok(_) => {}
                Err(error) => ended = Err(error),
            }
        }
        if self.left == 0 {
            ended = ended.map(|_| "the number of checks is reached");
        }
        if let Err(error) = &ended {
            tracing::error!("--record {error}: the recording has ended");
        }
        let counts = self.reader.counts();
        let why = ended.map_or_else(|error| error.to_string(), str::to_owned);
        let note = Note {
            ended: why,
            checks: Some(self.checks),
            lost: counts.lost,
            late: counts.late,
            rematched: self.rematched,
            ..Note::default()
        };
        // If the disk is full, the trace ends without the note.
        let _noted = self.file.add_note(&note).and_then(|()| self.file.flush());
        let what = format!("{} checks, {} lost", self.checks, counts.lost);
        tracing::info!(checks = self.checks, lost = counts.lost, "recording ended");
        self.operations.recording_ends(&[], &what, &author());
    }

    /// Writes what has its turn. Returns the number of checks.
    fn write(&mut self) -> Result<usize, TraceFileError> {
        let mut taken = self.reader.poll(self.clock.now());
        taken.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        let view = self.limiter.view();
        let rules = view.as_ref().and_then(View::rules);
        for recorded in &taken {
            let Some(mut check) = recorded.check() else { continue };
            if let Some(hashes) = &self.hashes {
                self.rematched += hashes.hide(&mut check, rules);
            }
            self.file.add(recorded.at, &check)?;
        }
        if !taken.is_empty() {
            self.file.flush()?;
        }
        self.checks += taken.len() as u64;
        self.left -= taken.len() as u64;
        Ok(taken.len())
    }
}

fn author() -> Author {
    Author { principal: "tidegate".to_owned(), reason: "serve --record".to_owned() }
}
