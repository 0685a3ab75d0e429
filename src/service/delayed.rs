//! Replies that are delayed until the hits they answer have their turn.
//!
//! A delayed reply is a future with a timer: no thread, no poll. When its caller goes away, the stream's future is dropped,
//! and the timer with it; the hits in the queue stay charged. The order of admission is by the time that the bucket gave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::lifecycle::Phases;
use crate::units::Nanos;

/// The delayed replies of all workers.
#[derive(Clone, Debug, Default)]
pub struct DelayedReplies(Arc<AtomicUsize>);

impl DelayedReplies {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether there are so many that no further check may wait.
    pub fn is_full(&self) -> bool {
        self.count() >= MAX_DELAYED
    }

    /// Waits for `length`.
    ///
    /// # Errors
    /// When the process closes before that.
    pub async fn delay(&self, length: Nanos, mut phases: Phases) -> Result<(), ShuttingDown> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let _released = Release(&self.0);
        tokio::select! {
            () = tokio::time::sleep(length.into()) => Ok(()),
            () = phases.closing() => Err(ShuttingDown),
        }
    }
}

/// The process stops before a delayed reply is due: the caller may ask another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shutting down before the hits had their turn")]
pub struct ShuttingDown;

/// Counts the reply out, however the wait ends.
struct Release<'h>(&'h AtomicUsize);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Delayed replies of the whole process, a few KiB each (a stream and a timer): checks beyond are denied, not delayed.
const MAX_DELAYED: usize = 250_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::lifecycle::{Lifecycle, Phase};

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_answers_are_delayed_and_released() {
        let (delayed, lifecycle) = (DelayedReplies::default(), Lifecycle::default());
        let mut delays = tokio::task::JoinSet::new();
        for i in 0..100_000_u64 {
            let (delayed, phases) = (delayed.clone(), lifecycle.phases());
            delays.spawn(async move { delayed.delay(Nanos::from_secs(1 + i % 7), phases).await.is_ok() });
        }
        // The clock does not advance while anything else can be done.
        while delayed.count() < 100_000 {
            tokio::task::yield_now().await;
        }
        while let Some(done) = delays.join_next().await {
            assert!(done.unwrap());
        }
        assert_eq!(delayed.count(), 0);
    }

    #[tokio::test]
    async fn closing_answers_what_is_delayed_and_a_caller_that_leaves_frees_its_place() {
        let (delayed, lifecycle) = (DelayedReplies::default(), Lifecycle::default());
        let mut left = Box::pin(delayed.delay(Nanos::from_secs(3_600), lifecycle.phases()));
        assert!(futures_poll(&mut left).await);
        assert_eq!(delayed.count(), 1);
        drop(left);
        assert_eq!(delayed.count(), 0);
        lifecycle.advance(Phase::Closing);
        let closed = delayed.delay(Nanos::from_secs(3_600), lifecycle.phases()).await;
        assert_eq!(closed, Err(ShuttingDown));
    }

    /// Polls once; whether the future still waits.
    async fn futures_poll(future: &mut (impl Future + Unpin)) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    #[test]
    fn with_too_many_delayed_nobody_waits() {
        let delayed = DelayedReplies::default();
        assert!(!delayed.is_full());
        delayed.0.store(MAX_DELAYED, Ordering::Relaxed);
        assert!(delayed.is_full());
    }
}
