//! The phases of the process, from start to the last answer, and the signals that move it on.
//!
//! ```text
//! Starting --configuration loaded, all listeners bound--> Serving --SIGTERM or SIGINT--> Draining
//!     --drain delay--> Stopping --deadline near--> Closing
//! ```
//! Health is SERVING in `Serving` only. New connections and checks are served in `Draining` too, because clients learn
//! of the change only at their next health check. In `Stopping` listeners close and connections end when their last
//! answer is sent; in `Closing`, shortly before the deadline, delayed replies are answered with UNAVAILABLE. One
//! deadline, counted from the signal, bounds it all; a second signal ends the process at once.

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
    /// Asked to stop; still serves while clients move to other servers.
    Draining,
    /// Ends what is open.
    Stopping,
    /// The deadline is near: delayed replies are answered with UNAVAILABLE.
    Closing,
}

/// Moves the process from phase to phase, never back.
#[derive(Debug)]
pub struct Lifecycle(watch::Sender<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }
}

impl Lifecycle {
    /// Moves on to `phase`, and wakes all who wait for it; nothing when it is past already.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }

    /// A view of the phase for those who follow it.
    pub fn phases(&self) -> Phases {
        Phases(self.0.subscribe())
    }
}

/// Follows the phase of the process.
#[derive(Clone, Debug)]
pub struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// The phase now.
    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the process stops; returns at once when it does already. Cancel safe.
    pub async fn stopping(&mut self) {
        // An error means that the sender is gone, so the process ends.
        let _ended = self.0.wait_for(|phase| *phase >= Phase::Stopping).await;
    }

    /// Waits until the deadline of a shutdown is near. Cancel safe.
    pub async fn closing(&mut self) {
        // An error means that the sender is gone, so the process ends.
        let _ended = self.0.wait_for(|phase| *phase >= Phase::Closing).await;
    }

    /// The same phases through a value of the caller's own runtime: what a thread's connections wait on, and look at each
    /// time they wake, is then on cache lines that no other thread writes.
    pub fn relayed(&self) -> Self {
        let (mut all, local) = (self.clone(), Lifecycle(watch::Sender::new(self.now())));
        let relayed = local.phases();
        tokio::spawn(async move {
            loop {
                local.advance(all.now());
                if all.0.changed().await.is_err() {
                    // The sender is gone: so is this one, with the task.
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

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals that the process listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Receiver,
    interrupt: Receiver,
    hangup: Receiver,
}

impl Signals {
    /// Takes the signals over from the system, which would end the process.
    ///
    /// # Errors
    /// When the system fails.
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

    /// Waits for SIGTERM or SIGINT, whatever comes before. Cancel safe.
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
