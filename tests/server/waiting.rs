//! Waiting for what another process does, with an end to it.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Asks until there is an answer; fails the test when there is none in time.
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let stopwatch = Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(stopwatch.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits, in the last seconds of a minute, for the next one, so that what follows falls into one minute.
pub(crate) fn room_in_this_minute() {
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 60;
    wait_for("the next minute", Duration::from_secs(20), || (second() < 50).then_some(()));
}

/// Time that has passed since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
