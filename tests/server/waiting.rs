//! Waiting for what another process or thread does, with an end to it.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::DEADLINE;

/// Waits until `is_so`; fails the test when it takes longer than [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, DEADLINE, || is_so().then_some(()));
}

/// As [`eventually`], of what is asked asynchronously.
pub(crate) async fn eventually_async(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// Asks until there is an answer; fails the test when there is none in time.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let stopwatch = Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(stopwatch.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits, in the last seconds of a minute, for the next one, so that what follows falls into one minute.
pub(crate) fn next_minute_if_late() {
    #[allow(clippy::disallowed_methods, reason = "other processes live in real time")]
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 60;
    wait_for("the next minute", Duration::from_secs(20), || (second() < 50).then_some(()));
}

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);

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
