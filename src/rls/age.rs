//! The age at which a connection is ended, so that clients spread over replicas that were added later.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long one connection lives.
pub(super) struct Age {
    timer: Pin<Box<Sleep>>,
    grace: Option<Duration>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The peer is asked to go elsewhere.
    Goodbye,
    /// The time for what had begun is over.
    End,
}

impl Age {
    /// About that age, up to a tenth more or less so that not all clients come back at the same time, and the time after it.
    pub(super) fn new((age, grace): (Duration, Duration)) -> Self {
        let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
        Self { timer: Box::pin(sleep(age.mul_f64(0.9 + chance / 5.0))), grace: Some(grace) }
    }

    /// Ready each time that something is due.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(match self.grace.take() {
            Some(grace) => {
                self.timer.set(sleep(grace));
                // Registers for the end.
                let _pending = self.timer.as_mut().poll(cx);
                Due::Goodbye
            }
            None => Due::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_ended_in_two_steps() {
        let mut age = Age::new((Duration::from_secs(10), Duration::from_secs(5)));
        let stopwatch = tokio::time::Instant::now();
        assert_eq!(poll_fn(|cx| age.poll_due(cx)).await, Due::Goodbye);
        let first = stopwatch.elapsed().as_secs_f64();
        assert!((8.99..=11.01).contains(&first), "{first}");
        assert_eq!(poll_fn(|cx| age.poll_due(cx)).await, Due::End);
        assert!(stopwatch.elapsed().as_secs_f64() - first >= 5.0);
    }
}
