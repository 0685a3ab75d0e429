//! `/healthcheck`, `/livez` and `/readyz`.

use std::fmt::{Display, Write};
use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use parking_lot::Mutex;

use crate::config::Publisher;
use crate::grpc::Ready;
use crate::history::History;
use crate::limiter::{Limiter, View};
use crate::runtime::lifecycle::Phases;
use crate::sanitize::sanitize;
use crate::sharing::SharedStore;
use crate::state::StateStatus;
use crate::xds::XdsStatus;

/// The state that the probes report.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    /// The phase of the process.
    pub phases: Phases,
    /// The status of reloads.
    pub config: Arc<Publisher>,
    /// The status of the history.
    pub history: Arc<History>,
    /// The rules in force.
    pub limiter: Arc<Limiter>,
    /// How writing the counters goes, if they are.
    pub state: Option<Arc<Mutex<StateStatus>>>,
    /// The store of shared counters, if there is one.
    pub store: Option<Arc<SharedStore>>,
    /// How it goes with the control plane, if there is one.
    pub xds: Option<Arc<XdsStatus>>,
    /// What else it needs to be ready.
    pub ready: Ready,
    /// The process is not ready before the store has answered for the first time.
    pub store_required: bool,
}

/// As in envoyproxy/ratelimit: 200 `OK`, or 500 when not serving.
pub(super) async fn healthcheck(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    if probes.phases.now().is_serving() && probes.ready.is_so() {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "NOT_SERVING")
    }
}

/// The process is alive, because it answers.
pub(super) async fn livez() -> &'static str {
    "OK\n"
}

/// 200 when serving, else 503; in both cases with the state of the configuration and the history.
pub(super) async fn readyz(State(probes): State<Probes>) -> (StatusCode, String) {
    let phase = probes.phases.now();
    let is_waiting = probes.store_required
        && probes.store.as_ref().is_some_and(|store| !store.has_connected() || !store.changes().has_tried());
    let is_ready = phase.is_serving() && !is_waiting && probes.ready.is_so();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let config = probes.config.status();
    let mut text = format!("serving: {phase:?}\nconfiguration: generation {}\n", config.generation).to_lowercase();
    let place = if probes.history.in_memory() { "in memory" } else { "on disk" };
    // Writing to a String does not fail.
    let _written = match probes.history.status().failure {
        Some(failure) => writeln!(text, "history: not written (decisions are not affected): {failure}"),
        None => writeln!(text, "history: {place}"),
    };
    if let Some(state) = &probes.state {
        write_state(&mut text, &state.lock());
    }
    if let Some(store) = &probes.store {
        // Writing to a String does not fail.
        let _written = writeln!(text, "store: {}", if store.is_up() { "up" } else { "down" });
        let pending = store.changes().counts().pending;
        if pending > 0 {
            // Writing to a String does not fail.
            let _written =
                writeln!(text, "store: {pending} changes by operators are not shared with other replicas yet");
        }
    }
    if let Some(xds) = &probes.xds {
        write_xds(&mut text, xds);
    }
    write_lifted(&mut text, &probes.limiter);
    if let Some(failed) = &config.last_error {
        let errors = failed.errors.join("\n");
        // Writing to a String does not fail.
        let _written = write!(text, "last reload failed, the previous rules are in force:\n{errors}\n");
    }
    (status, text)
}

/// How writing the counters goes, and what of the last run could not be read.
fn write_state(text: &mut String, state: &StateStatus) {
    // Writing to a String does not fail.
    let _written = match &state.failure {
        Some(failure) => {
            writeln!(
                text,
                "counters: not written (decisions are not affected, a crash loses them): {}",
                sanitize(failure)
            )
        }
        None => writeln!(text, "counters: on disk"),
    };
    for damage in &state.damage {
        // Writing to a String does not fail.
        let _written = writeln!(text, "counters: those of the last run are not complete: {}", sanitize(damage));
    }
    if let Some(damage) = &state.settings_damage {
        // Writing to a String does not fail.
        let _written = writeln!(text, "settings: those of the last run are not in force: {}", sanitize(damage));
    }
}

/// How it goes with the control plane.
fn write_xds(text: &mut String, xds: &XdsStatus) {
    let connected = if xds.is_connected() { "connected" } else { "not connected" };
    let version =
        xds.received().map_or_else(|| "no set received".to_owned(), |set| format!("version '{}'", set.version));
    // Writing to a String does not fail.
    let _written = writeln!(text, "control plane: {connected}, {version}");
    for (domains, what) in [(xds.outdated(), "keep their former rules"), (xds.missing(), "are not limited")] {
        if domains > 0 {
            // Writing to a String does not fail.
            let _written =
                writeln!(text, "control plane: {domains} domains with errors {what} (/xds on the admin port)");
        }
    }
}

/// A line for each part of the configuration that denies nothing, so that it does not go unnoticed.
fn write_lifted(text: &mut String, limiter: &Limiter) {
    let view = limiter.view();
    let lifted = view.as_ref().map(View::lifted).unwrap_or_default();
    let mut line = |what: &dyn Display| {
        // Writing to a String does not fail.
        let _written = writeln!(text, "limits are lifted: {what}");
    };
    if view.as_ref().is_some_and(View::in_global_shadow) {
        line(&"the process is in shadow mode (--shadow-mode), nothing is denied");
    }
    for lifted in lifted.iter().take(MAX_LIFTED) {
        line(&sanitize(&lifted.to_string()));
    }
    if let Some(more @ 1..) = lifted.len().checked_sub(MAX_LIFTED) {
        line(&format_args!("and {more} more (/rlconfig on the admin port shows all)"));
    }
}

/// People only glance at the answer of a probe.
const MAX_LIFTED: usize = 20;
