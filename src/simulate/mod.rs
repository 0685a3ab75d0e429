//! Replays a trace of checks on a virtual clock, with the limiter of the service: one check per line in, one decision out.
//!
//! `docs/CLI.md` describes the format of traces; bodies of `/json` ([`body`]) are accepted too. [`trace`] reads lines, [`line`]
//! writes them, [`TraceFile`] keeps what was recorded, and [`envoy_log`] makes a trace of what a gateway logged. [`answer`] writes decisions, [`summary`] and [`unmatched`] sum them up.

mod answer;
mod body;
mod envoy_log;
mod line;
mod note;
mod summary;
mod trace;
mod trace_file;
mod unmatched;

use std::io::{self, BufRead, Write};

use serde_json::value::{RawValue, to_raw_value};

pub(crate) use envoy_log::{DescriptorPattern, EnvoyLog, ValuePattern};
pub use note::Note;
pub(crate) use trace_file::{TraceFile, TraceFileError};

use crate::api::rls::ResponseParts;
use crate::limiter::{Check, Limiter, WorkerSlot};
use crate::units::Timestamp;

use summary::Summary;

/// Why a trace was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A line is wrong.
    #[error("line {line}: {what}")]
    BadLine {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The input could not be read, or the output could not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The output of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One decision per line.
    Decisions,
    /// The sums per rule and the busiest counters, at the end.
    Summary,
}

/// Decides every check of `trace`, in order.
///
/// # Errors
/// The first line that is not a check or goes back in time (decisions before it are written), or an error of the reader or
/// the writer.
pub fn run(limiter: &Limiter, trace: impl BufRead, mut out: impl Write, output: Output) -> Result<(), SimulateError> {
    let mut summary = Summary::default();
    let result = read(trace, |TraceItem { line, at, now, check }| {
        if line % LINES_PER_SWEEP == 0 {
            limiter.store().sweep_all(now);
        }
        let Some(view) = limiter.view() else {
            return Err(SimulateError::BadLine { line, what: "no configuration is loaded".to_owned() });
        };
        let decision = view.check(WorkerSlot::default(), now, &check);
        match output {
            Output::Decisions => {
                let parts = ResponseParts::new(&check, &decision, limiter.settings(), now);
                answer::write(&mut out, at, &decision, &parts)?;
            }
            Output::Summary => summary.add(&check, &decision, view.rules()),
        }
        Ok(())
    });
    if output == Output::Summary && result.is_ok() {
        summary.write(&mut out, limiter.usage())?;
    }
    out.flush()?;
    result.map(drop)
}

/// A check of a trace.
#[derive(Debug)]
pub struct TraceItem<'l> {
    /// Its line, from 1.
    pub line: u64,
    /// The time as written in the line, or in the one before it.
    pub at: &'l RawValue,
    /// The time.
    pub now: Timestamp,
    /// The check.
    pub check: Check<'l>,
}

/// Reads a trace, and calls `take` for each of its checks. Returns the notes in it.
///
/// # Errors
/// The first line that is not a check or goes back in time, an error of the reader, or that of `take`.
pub fn read(
    trace: impl BufRead,
    mut take: impl FnMut(TraceItem<'_>) -> Result<(), SimulateError>,
) -> Result<Vec<Note>, SimulateError> {
    let mut last = Last { at: to_raw_value(&0).map_err(io::Error::from)?, now: Timestamp::EPOCH };
    let mut notes = Vec::new();
    for (bytes, line) in trace.split(b'\n').zip(1..) {
        let bytes = bytes?;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let bad = |what| SimulateError::BadLine { line, what };
        let read = trace::Line::read(&bytes).map_err(bad)?;
        if let trace::Line::Note(note) = read {
            if notes.len() < MAX_NOTES {
                notes.push(*note);
            }
            continue;
        }
        if let Some(at) = read.at() {
            last.advance(at).map_err(bad)?;
        }
        let check = read.check().map_err(bad)?;
        take(TraceItem { line, at: &last.at, now: last.now, check })?;
    }
    Ok(notes)
}

/// The time of the previous line: that of the next line if it has none, and its lower bound otherwise.
struct Last {
    /// As written in the line.
    at: Box<RawValue>,
    now: Timestamp,
}

impl Last {
    fn advance(&mut self, at: &RawValue) -> Result<(), String> {
        let now = trace::instant(at)?;
        if now < self.now {
            return Err(format!("goes back in time: {} comes after a later check", at.get()));
        }
        *self = Self { at: at.to_owned(), now };
        Ok(())
    }
}

/// Notes that are kept of a trace: each recording that is part of it has two.
const MAX_NOTES: usize = 1_000;
/// How often expired counters are freed, so that a long trace with many keys needs only the memory of its live ones.
const LINES_PER_SWEEP: u64 = 1_000_000;
