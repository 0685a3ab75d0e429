//! Progress on a terminal, and Ctrl-C.

use std::io::{IsTerminal, Write, stderr};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::bench::table::grouped;
use crate::bench::{self, Measured, Pace, Plan, Progress, RunError};

/// Shows the progress of runs, and handles Ctrl-C.
#[derive(Debug)]
pub(super) struct Watch {
    interrupted: Arc<AtomicBool>,
    /// Progress is written only to a terminal, not to a file or a pipe.
    on_terminal: bool,
}

impl Watch {
    /// From now on, the first Ctrl-C ends the run, and its result is still reported; the second one ends the process.
    pub(super) fn start() -> Self {
        let interrupted = Arc::new(AtomicBool::new(false));
        let reported = Arc::clone(&interrupted);
        // If the thread cannot be started, Ctrl-C ends the process as usual.
        let _listening = thread::Builder::new().name("tidegate-signal".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                if reported.swap(true, Ordering::Relaxed) {
                    exit(ENDED_BY_SIGNAL);
                }
            }
        });
        Self { interrupted, on_terminal: stderr().is_terminal() }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Runs the plan to its end, or to Ctrl-C.
    pub(super) fn run(&self, plan: &Plan) -> Result<Measured, RunError> {
        let measured = bench::run(plan, &|| self.is_interrupted(), &mut |progress| {
            if self.on_terminal {
                // One line that is overwritten; the rest of a longer one is cleared.
                let _gone = write!(stderr(), "\r{}\x1b[K", line(plan, progress));
            }
        });
        if self.on_terminal {
            let _gone = write!(stderr(), "\r\x1b[K");
        }
        measured
    }
}

fn line(plan: &Plan, progress: Progress) -> String {
    let seconds = progress.elapsed.as_ns() / 1_000_000_000;
    let total = (plan.warmup + plan.duration).as_secs();
    let load = match plan.pace {
        Pace::Closed => "closed loop".to_owned(),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A rate is at most 10^9.
        Pace::Open { rate, .. } => format!("{}/s", grouped(rate as u64)),
    };
    if !progress.warm {
        return format!("{load}: {seconds} of {total} s, warming up");
    }
    let errors = if progress.errors > 0 { format!(", {} errors", grouped(progress.errors)) } else { String::new() };
    format!("{load}: {seconds} of {total} s, {} checks{errors}", grouped(progress.answered))
}

/// The exit status that shells report for a process that SIGINT ended.
const ENDED_BY_SIGNAL: i32 = 130;
