//! Stops everything in order, within one deadline.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::hand_over::Offer;
use super::rule_source::Following;
use super::taken;
use crate::alerts::Alerts;
use crate::history::{DataDir, Recorder};
use crate::rls::Workers;
use crate::runtime::lifecycle::{Lifecycle, Phase, Signals};
use crate::runtime::threads::Worker;
use crate::settings::ListenSettings;
use crate::sharing::SharedStore;
use crate::state::State;
use crate::telemetry::Statsd;
use crate::telemetry::denial_log::DenialLogger;
use crate::telemetry::otlp::Otlp;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order, within the deadline.
    Orderly,
    /// At once, because of a second signal.
    Forced,
}

/// The threads that do not decide, and the directory that the last of them writes to.
pub(super) struct Threads {
    pub(super) _recording: Option<Worker>,
    pub(super) _watch: Following,
    pub(super) _sweeper: Worker,
    pub(super) _recorder: Recorder,
    pub(super) _access: Vec<Worker>,
    pub(super) _tls: Option<Worker>,
    /// Released after the recorder has ended: fields are dropped in the order of their declaration.
    pub(super) _data_dir: Option<DataDir>,
    pub(super) _alerts: Alerts,
    pub(super) _denial_logger: DenialLogger,
    /// Last: the directory is free by then, so that a process that takes the place of this one does not wait for a statsd.
    pub(super) _statsd: Option<Statsd>,
}

/// What runs until it is stopped.
pub(super) struct Running {
    pub(super) workers: Workers,
    pub(super) servers: JoinSet<()>,
    pub(super) telemetry: Option<Otlp>,
    /// Each ends when it is dropped.
    pub(super) threads: Threads,
    /// Writes the counters for the next run, when the last check has been answered.
    pub(super) state: Option<State>,
    /// Has leases, which go back before listeners close.
    pub(super) store: Option<Arc<SharedStore>>,
}

/// Drains, then ends what is still open, all within the deadline.
pub(super) async fn stop(
    running: Running,
    listen: &ListenSettings,
    lifecycle: &Lifecycle,
    mut offer: Option<Offer>,
    signals: &mut Signals,
) -> End {
    let Running { workers, mut servers, telemetry, threads, state, store } = running;
    if !offer.as_ref().is_some_and(Offer::is_taken) {
        lifecycle.advance(Phase::Draining);
    }
    let writing = Arc::new(AtomicBool::new(false));
    let orderly = async {
        // Nobody needs to be drained when another process has the sockets, and callers wait for it.
        let closing = listen.shutdown_deadline.mul_f32(CLOSING_SHARE);
        let (closing, ending) = tokio::select! {
            // First: no client has to go elsewhere when another process serves already.
            biased;
            () = taken(&mut offer) => {
                tracing::info!("hand-over: another process has the sockets; answering what has been received");
                (closing.min(HAND_OVER_CLOSING), Phase::HandingOver)
            }
            () = tokio::time::sleep(listen.drain) => (closing.saturating_sub(listen.drain), Phase::Stopping),
        };
        if let Some(store) = store {
            store.give_back(GIVING_BACK).await;
        }
        lifecycle.advance(ending);
        let all_ended = async {
            workers.all_ended().await;
            while servers.join_next().await.is_some() {}
        };
        answer_by(closing, lifecycle, all_ended).await;
        finish(state, threads, telemetry, listen.shutdown_deadline, &writing).await;
    };
    tokio::select! {
        ended = tokio::time::timeout(listen.shutdown_deadline, orderly) => {
            if ended.is_ok() {
                tracing::info!("stopped");
            } else {
                tracing::warn!("shutdown deadline passed: closing the connections that are still open");
                if writing.load(Ordering::Relaxed) {
                    tracing::error!(
                        "the disk has not taken the counters in time: those that were changed since the last flush may be lost"
                    );
                }
            }
            End::Orderly
        }
        signal = signals.stop() => {
            tracing::warn!("received {signal} again, ending at once");
            End::Forced
        }
    }
}

/// Waits for the last reply. After `closing`, replies that are still delayed are sent at once.
async fn answer_by(closing: Duration, lifecycle: &Lifecycle, all_ended: impl Future<Output = ()>) {
    let mut all_ended = pin!(all_ended);
    if tokio::time::timeout(closing, all_ended.as_mut()).await.is_err() {
        lifecycle.advance(Phase::Closing);
        all_ended.await;
    }
}

/// Writes the counters, ends the threads that do not decide, and sends the remaining telemetry. All of it blocks: not for a thread that runs tasks.
///
/// `writing` is set while counters are written.
async fn finish(
    state: Option<State>,
    threads: Threads,
    telemetry: Option<Otlp>,
    deadline: Duration,
    writing: &Arc<AtomicBool>,
) {
    let writing = Arc::clone(writing);
    let finished = tokio::task::spawn_blocking(move || {
        // While the directory is locked.
        if let Some(mut state) = state {
            writing.store(true, Ordering::Relaxed);
            state.finish();
            writing.store(false, Ordering::Relaxed);
        }
        drop(threads);
        telemetry.is_none_or(|otlp| otlp.shutdown(deadline))
    });
    if !finished.await.is_ok_and(|sent| sent) {
        tracing::warn!("not all telemetry could be sent to the collector");
    }
}

/// How long leases may take to go back.
const GIVING_BACK: Duration = Duration::from_millis(500);
/// How long replies may be delayed while another process waits for the state.
const HAND_OVER_CLOSING: Duration = Duration::from_secs(3);
/// The share of the shutdown deadline after which delayed replies are released; the rest is for sending them.
const CLOSING_SHARE: f32 = 0.8;
