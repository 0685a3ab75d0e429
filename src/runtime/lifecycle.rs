//! The phases of the process, from the start to the last answer, and the signals that change them.
//!
//! ```text
//! Starting --configuration loaded, all listeners bound--> Serving --SIGTERM or SIGINT--> Draining
//!     --drain delay--> Stopping --deadline near--> Closing
//! Serving or Draining --another process has the sockets--> HandingOver --deadline near--> Closing
//! ```
//! Health is SERVING only in `Serving`, and in `HandingOver`, because another process goes on. New connections and checks are served in
//! `Draining` too, because clients notice the change only at their next health check. In `Stopping` and `HandingOver` listeners close,
//! and connections end when their last answer is sent. In `Closing`, shortly before the deadline, delayed replies are answered
//! UNAVAILABLE. One deadline, counted from the signal, bounds all phases; a second signal ends the process at once.

use std::io;

use tokio::signal::unix::{Signal as Receiver, SignalKind, signal};
use tokio::sync::watch;

/// The phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not ready yet.
    Starting,
    /// Ready.
    Serving,
    /// A signal stops the process; it still serves while clients move to other replicas.
    Draining,
    /// Listeners and connections end here, and another process serves.
    HandingOver,
    /// Listeners and connections end.
    Stopping,
    /// The deadline is near: delayed replies are answered UNAVAILABLE.
    Closing,
}

impl Phase {
    /// Whether health is SERVING.
    pub fn is_serving(self) -> bool {
        matches!(self, Self::Serving | Self::HandingOver)
    }
}

/// Advances the phase of the process, never back.
#[derive(Debug)]
pub struct Lifecycle(watch::Sender<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }
}

impl Lifecycle {
    /// Advances to `phase`, and wakes all tasks that wait for it. Does nothing if the phase has passed already.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }

    /// A handle to read and await the phase.
    pub fn phases(&self) -> Phases {
        Phases(self.0.subscribe())
    }
}

/// Follows the phase of the process.
#[derive(Clone, Debug)]
pub struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// The current phase.
    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits for `HandingOver` or `Stopping`; returns at once if that has begun already. Cancel safe.
    pub async fn stopping(&mut self) {
        // An error means that the sender was dropped, because the process ends.
        let _ended = self.0.wait_for(|phase| *phase >= Phase::HandingOver).await;
    }

    /// Waits for `Closing`. Cancel safe.
    pub async fn closing(&mut self) {
        // An error means that the sender was dropped, because the process ends.
        let _ended = self.0.wait_for(|phase| *phase >= Phase::Closing).await;
    }

    /// The same phases through a channel in the caller's runtime, so that the connections of a thread, which read the phase each
    /// time they wake, use cache lines that no other thread writes.
    pub fn relayed(&self) -> Self {
        let (mut all, local) = (self.clone(), Lifecycle(watch::Sender::new(self.now())));
        let relayed = local.phases();
        tokio::spawn(async move {
            loop {
                local.advance(all.now());
                if all.0.changed().await.is_err() {
                    // The sender was dropped: this one ends with the task.
                    return;
                }
            }
        });
        relayed
    }

    /// The phase as a watched value, for streams.
    pub fn into_receiver(self) -> watch::Receiver<Phase> {
        self.0
    }
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals that the process handles.
#[derive(Debug)]
pub struct Signals {
    terminate: Receiver,
    interrupt: Receiver,
    hangup: Receiver,
}

impl Signals {
    /// Installs handlers for the signals, which would otherwise end the process.
    ///
    /// # Errors
    /// The system reports an error.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next request. Cancel safe.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            Some(()) = self.terminate.recv() => Request::Stop("SIGTERM"),
            Some(()) = self.interrupt.recv() => Request::Stop("SIGINT"),
            Some(()) = self.hangup.recv() => Request::Reload,
            else => std::future::pending().await,
        }
    }

    /// Waits for SIGTERM or SIGINT, and ignores other signals. Cancel safe.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Request::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_move_on_and_wake_their_followers() {
        let lifecycle = Lifecycle::default();
        let mut phases = lifecycle.phases();
        assert_eq!(phases.now(), Phase::Starting);
        lifecycle.advance(Phase::Draining);
        assert_eq!(phases.now(), Phase::Draining);
        lifecycle.advance(Phase::Serving);
        assert_eq!(phases.now(), Phase::Draining);
        lifecycle.advance(Phase::Stopping);
        phases.stopping().await;
        drop(lifecycle);
        phases.stopping().await;
    }
}
