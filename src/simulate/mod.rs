//! Replays a trace of checks on a virtual clock, with the limiter of the service: one check per line in, one decision out.
//!
//! `docs/CLI.md` describes the format of traces; bodies of `/json` ([`body`]) are accepted too. [`trace`] reads checks,
//! [`answer`] writes decisions, [`summary`] and [`unmatched`] sum them up.

mod answer;
mod body;
mod summary;
mod trace;
mod unmatched;

use std::io::{self, BufRead, Write};

use serde_json::value::{RawValue, to_raw_value};

use crate::api::rls::ResponseParts;
use crate::limiter::{Limiter, WorkerSlot};
use crate::units::Timestamp;

use summary::Summary;

/// Why a run stopped early.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A line could not be read as a check.
    #[error("line {line}: {what}")]
    BadLine {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The trace could not be read, or a decision could not be written.
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
    let mut last = Last { at: to_raw_value(&0).map_err(io::Error::from)?, now: Timestamp::EPOCH };
    let result = trace.split(b'\n').zip(1..).try_for_each(|(bytes, line)| {
        let bytes = bytes?;
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        let bad = |what| SimulateError::BadLine { line, what };
        let asked = trace::Line::read(&bytes).map_err(bad)?;
        if let Some(at) = asked.at() {
            last.advance(at).map_err(bad)?;
        }
        let now = last.now;
        if line % LINES_PER_SWEEP == 0 {
            limiter.store().sweep_all(now);
        }
        let check = asked.check().map_err(bad)?;
        let Some(view) = limiter.view() else { return Err(bad("no configuration is loaded".into())) };
        let decision = view.check(WorkerSlot::default(), now, &check);
        match output {
            Output::Decisions => {
                let parts = ResponseParts::new(&check, &decision, now);
                answer::write(&mut out, &last.at, &decision, &parts)?;
            }
            Output::Summary => summary.add(&check, &decision, view.rules()),
        }
        Ok(())
    });
    if output == Output::Summary && result.is_ok() {
        summary.write(&mut out, limiter.usage())?;
    }
    out.flush()?;
    result
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

/// How often expired counters are freed, so that a long trace with many keys needs only the memory of its live ones.
const LINES_PER_SWEEP: u64 = 1_000_000;
