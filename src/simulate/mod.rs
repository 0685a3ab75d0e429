//! The engine that serves, on a virtual clock: one check a line in, one decision a line out.
//!
//! The trace's format is the contract's section 5; [`trace`] reads it, [`answer`] writes it, [`summary`] sums it up.

mod answer;
mod summary;
mod trace;

use std::io::{self, BufRead, Write};

use crate::limiter::{Lane, Limiter};
use crate::units::Timestamp;
use crate::wire::Extras;

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
    let mut last = Timestamp::EPOCH;
    let result = trace.split(b'\n').zip(1..).try_for_each(|(bytes, line)| {
        let bytes = bytes?;
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        let bad = |what| SimulateError::BadLine { line, what };
        let asked = trace::Line::read(&bytes).map_err(bad)?;
        let now = asked.now().map_err(bad)?;
        if now < last {
            return Err(bad(format!("goes back in time: {} comes after a later check", asked.at_text())));
        }
        last = now;
        if line % LINES_PER_SWEEP == 0 {
            limiter.store().sweep_all(now);
        }
        let check = asked.check().map_err(bad)?;
        let Some(view) = limiter.view() else { return Err(bad("no configuration is loaded".into())) };
        let decision = view.check(Lane::default(), now, &check);
        match output {
            Output::Decisions => {
                let extras = Extras::of(&check, &decision, now, limiter.settings().quota_mode);
                answer::write(&mut out, asked.at(), &decision, &extras)?;
            }
            Output::Summary => summary.add(&check, &decision),
        }
        Ok(())
    });
    if output == Output::Summary && result.is_ok() {
        summary.write(&mut out, limiter.usage())?;
    }
    out.flush()?;
    result
}

/// How often spent counters are freed: a long trace over many keys takes the memory of its live ones.
const LINES_PER_SWEEP: u64 = 1_000_000;
