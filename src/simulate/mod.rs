//! The engine that serves, on a virtual clock: one check a line in, one decision a line out.
//!
//! The trace's format is the contract's section 5, and bodies of `/json` ([`body`]) are taken as well; [`trace`] reads it,
//! [`answer`] writes it, [`summary`] and [`unmatched`] sum it up.

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

/// Why a run stopped.
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
    /// The trace could not be read or the answer not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What a run prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One decision a line.
    Decisions,
    /// Sums per rule, and the busiest counters, at the end.
    Summary,
}

/// Decides about every check of `trace`, in its order.
///
/// # Errors
/// The first line that is no check or goes back in time; what was decided before it is written. A failing reader or writer.
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

/// The time of the line before: that of a line without one, and the least that the next may have.
struct Last {
    /// As the line had it.
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

/// How often spent counters are freed: a long trace over many keys takes the memory of its live ones.
const LINES_PER_SWEEP: u64 = 1_000_000;
