//! Replies that are delayed until the hits they answer have their turn.
//!
//! A delayed reply is a future with a timer: no thread, no poll. When its caller goes away, the stream's future is dropped,
//! and the timer with it; the place in the queue stays charged. Order of admission is by the time that the bucket gave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

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

    /// How long a caller with these headers waits at most for an answer: until its own deadline, and not at all while
    /// too many answers are held already.
    pub fn timeout(&self, headers: &HeaderMap) -> Option<Nanos> {
        if self.count() >= MAX_DELAYED { Some(Nanos::ZERO) } else { timeout(headers) }
    }

    /// Waits for `length`.
    ///
    /// # Errors
    /// UNAVAILABLE when the process closes before that: the caller may ask another server.
    pub async fn delay(&self, length: Nanos, mut phases: Phases) -> Result<(), Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let _released = Release(&self.0);
        tokio::select! {
            () = tokio::time::sleep(length.into()) => Ok(()),
            () = phases.closing() => Err(Status::unavailable("shutting down before the hits had their turn")),
        }
    }
}

/// Gives the place back, however the wait ends.
struct Release<'h>(&'h AtomicUsize);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The caller's deadline, from the header `grpc-timeout`: at most eight digits and a unit. One that breaks the format
/// counts as none.
fn timeout(headers: &HeaderMap) -> Option<Nanos> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let length = match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(length.into())
}

/// Delayed replies of the whole process, a few KiB each (a stream and a timer): what is above is denied, not held.
const MAX_DELAYED: usize = 250_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::lifecycle::{Lifecycle, Phase};

    #[test]
    fn deadlines_are_read_from_the_header() {
        for (text, want_ns) in [
            ("20m", Some(20_000_000)),
            ("1S", Some(1_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("99999999H", Some(u64::MAX)),
            ("7u", Some(7_000)),
            ("7n", Some(7)),
            ("0m", Some(0)),
            ("", None),
            ("m", None),
            ("5", None),
            ("-5m", None),
            ("5s", None),
            ("123456789m", None),
            ("1 m", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(timeout(&headers).map(Nanos::as_ns), want_ns, "{text:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_thousand_answers_are_delayed_and_released() {
        let (delayed, lifecycle) = (DelayedReplies::default(), Lifecycle::default());
        let mut delays = tokio::task::JoinSet::new();
        for i in 0..100_000_u64 {
            let (delayed, phases) = (delayed.clone(), lifecycle.phases());
            delays.spawn(async move { delayed.delay(Nanos::from_secs(1 + i % 7), phases).await.is_ok() });
        }
        // The clock stands still until nothing else is to be done.
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
        assert_eq!(closed.unwrap_err().code(), tonic::Code::Unavailable);
    }

    /// Polls once; whether the future still waits.
    async fn futures_poll(future: &mut (impl Future + Unpin)) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    #[test]
    fn with_too_many_delayed_nobody_waits() {
        let delayed = DelayedReplies::default();
        assert_eq!(delayed.timeout(&HeaderMap::new()), None);
        delayed.0.store(MAX_DELAYED, Ordering::Relaxed);
        assert_eq!(delayed.timeout(&HeaderMap::new()), Some(Nanos::ZERO));
    }
}
