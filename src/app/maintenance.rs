//! The thread beside the decisions: frees spent counters, keeps the clock in step with the wall clock, and makes room for
//! denials that listeners are told.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::limiter::Limiter;
use crate::runtime::clock::Clock;
use crate::runtime::threads;
use crate::usage::TICK_MS;

/// Sweeps until it is dropped.
#[derive(Debug)]
pub(super) struct Sweeper {
    /// Closed to say stop; nothing is ever sent.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(limiter: Arc<Limiter>, clock: Arc<Clock>) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let thread = threads::spawn("tidegate-sweep", move || run(&limiter, &clock, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A sweep that panicked has said so itself.
            let _ended = thread.join();
        }
    }
}

fn run(limiter: &Limiter, clock: &Clock, stopped: &Receiver<()>) {
    loop {
        clock.follow();
        limiter.usage().denials().tick();
        let rest = limiter.store().sweep_step(clock.now());
        match stopped.recv_timeout(rest.clamp(LEAST_REST, MOST_REST)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Between two steps even when memory is short: decisions come first.
const LEAST_REST: Duration = Duration::from_micros(100);
/// A tick of the denials.
const MOST_REST: Duration = Duration::from_millis(TICK_MS);
