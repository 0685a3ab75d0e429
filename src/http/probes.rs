//! `/healthcheck`, `/livez` and `/readyz`.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use parking_lot::Mutex;

use crate::shutdown::{Phase, Phases};

/// How the last loads of the configuration went.
#[derive(Debug, Default)]
pub struct ConfigState(Mutex<Loads>);

#[derive(Debug, Default)]
struct Loads {
    loaded: u64,
    failed: u64,
    last_error: Option<String>,
}

impl ConfigState {
    /// A configuration was put in force.
    pub fn loaded(&self) {
        let mut loads = self.0.lock();
        loads.loaded = loads.loaded.saturating_add(1);
        loads.last_error = None;
    }

    /// A configuration was refused, for what `error` tells; the one before goes on.
    pub fn refused(&self, error: String) {
        let mut loads = self.0.lock();
        loads.failed = loads.failed.saturating_add(1);
        loads.last_error = Some(error);
    }

    /// Whether a configuration is in force.
    pub fn is_loaded(&self) -> bool {
        self.0.lock().loaded > 0
    }

    /// Loads since the start: how many were put in force, how many refused.
    pub fn counts(&self) -> (u64, u64) {
        let loads = self.0.lock();
        (loads.loaded, loads.failed)
    }

    /// What was wrong with the last one, if it was refused.
    pub fn last_error(&self) -> Option<String> {
        self.0.lock().last_error.clone()
    }
}

/// What the probes look at.
#[derive(Clone, Debug)]
pub struct Probes {
    /// The phase of the process.
    pub phases: Phases,
    /// The configuration.
    pub config: Arc<ConfigState>,
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
    let loaded = if probes.config.is_loaded() { "loaded" } else { "not loaded" };
    let mut text = format!("serving: {phase:?}\nconfiguration: {loaded}\n").to_lowercase();
    if let Some(error) = probes.config.last_error() {
        // Writing to a String does not fail.
        let _written = write!(text, "last reload failed, the old rules go on:\n{error}\n");
    }
    (status, text)
}
