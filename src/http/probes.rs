//! `/healthcheck`, `/livez` and `/readyz`.

use std::fmt::{Display, Write};
use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::config::Reloader;
use crate::history::History;
use crate::limiter::{Limiter, View};
use crate::rules::RuleSet;
use crate::runtime::lifecycle::{Phase, Phases};
use crate::sanitize::sanitize;

/// What the probes look at.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    /// The phase of the process.
    pub phases: Phases,
    /// How loading the configuration goes.
    pub config: Arc<Reloader>,
    /// How recording the usage goes.
    pub history: Arc<History>,
    /// What is in force.
    pub limiter: Arc<Limiter>,
}

/// As envoyproxy/ratelimit: 200 `OK`, or 500 when not serving.
pub(super) async fn healthcheck(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    match probes.phases.now() {
        Phase::Serving => (StatusCode::OK, "OK"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "NOT_SERVING"),
    }
}

/// The process answers, so it lives.
pub(super) async fn livez() -> &'static str {
    "OK\n"
}

/// 200 when serving, else 503; either way what is and what is not in order.
pub(super) async fn readyz(State(probes): State<Probes>) -> (StatusCode, String) {
    let phase = probes.phases.now();
    let status = if phase == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let config = probes.config.status();
    let mut text = format!("serving: {phase:?}\nconfiguration: generation {}\n", config.generation).to_lowercase();
    let place = if probes.history.in_memory() { "in memory" } else { "on disk" };
    // Writing to a String does not fail.
    let _written = match probes.history.status().failure {
        Some(failure) => writeln!(text, "history: not written (decisions are not affected): {failure}"),
        None => writeln!(text, "history: {place}"),
    };
    write_lifted(&mut text, &probes.limiter);
    if let Some(failed) = &config.last_error {
        let errors = failed.errors.join("\n");
        // Writing to a String does not fail.
        let _written = write!(text, "last reload failed, the rules before it are in force:\n{errors}\n");
    }
    (status, text)
}

/// What is configured and denies nothing, a line each: it must not look as if it did.
fn write_lifted(text: &mut String, limiter: &Limiter) {
    let view = limiter.view();
    let lifted = view.as_ref().and_then(View::rules).map(RuleSet::lifted).unwrap_or_default();
    let mut line = |what: &dyn Display| {
        // Writing to a String does not fail.
        let _written = writeln!(text, "limits are lifted: {what}");
    };
    if limiter.settings().shadow_mode {
        line(&"the process is in shadow mode (--shadow-mode), nothing is denied");
    }
    for lifted in lifted.iter().take(MAX_LIFTED) {
        line(&sanitize(&lifted.to_string()));
    }
    if let Some(more @ 1..) = lifted.len().checked_sub(MAX_LIFTED) {
        line(&format_args!("and {more} more (/rlconfig on the admin port shows all)"));
    }
}

/// A probe's answer is read by people in passing.
const MAX_LIFTED: usize = 20;
