//! The maintenance thread: frees expired counters, removes expired settings, keeps the clock in step with the wall clock, and renews the number of
//! denials that listeners may receive.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::limiter::Limiter;
use crate::operations::Operations;
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Stop, Wait, Worker};
use crate::usage::TICK_MS;

/// Starts the thread, which runs until the [`Worker`] is dropped.
///
/// # Errors
/// The system cannot start another thread.
pub(super) fn start(limiter: Arc<Limiter>, clock: Arc<Clock>, operations: Arc<Operations>) -> io::Result<Worker> {
    Worker::spawn("tidegate-sweep", move |stop| run(&limiter, &clock, &operations, stop))
}

fn run(limiter: &Limiter, clock: &Clock, operations: &Operations, stop: &Stop) {
    loop {
        clock.follow();
        operations.expire();
        let denials = limiter.usage().denials();
        let most = if denials.is_watched() { Duration::from_millis(TICK_MS) } else { MOST_REST };
        let rest = limiter.sweep_step(clock.now()).clamp(LEAST_REST, most);
        denials.accept_for(rest);
        if stop.wait(rest) == Wait::Stopped {
            return;
        }
    }
}

/// The shortest rest between two steps, even when memory is short: decisions come first.
const LEAST_REST: Duration = Duration::from_micros(100);
/// The longest rest between two steps, within which a wall clock that was set forward is followed, and an expired setting removed.
const MOST_REST: Duration = Duration::from_millis(100);
