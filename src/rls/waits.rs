//! Checks that arrived together and wait for the store of shared counters: one task and one timer for all of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep};

use super::checks;
use super::responder::{Prepared, Responder};
use super::tasks::Tasks;
use crate::service::{Answer, Asked, Service, Trying};
use crate::units::Timestamp;

/// Checks of one connection that wait, in the order of their arrival. Ends when all are answered: whether the peer got an answer.
///
/// Whatever wakes it, it asks each check whether it can be decided. Usually one reply of the store has the answers of all.
pub(super) struct Waits<R> {
    service: Arc<Service>,
    prepared: Arc<Prepared>,
    /// `None`: where the answer goes is known to another task.
    checks: Vec<(Box<Asked>, Option<R>)>,
    /// When the first of them waits no longer.
    over: Pin<Box<Sleep>>,
    /// Those that are decided, and whose answers are delayed.
    delayed: Tasks,
    answered: bool,
}

impl<R: Responder> Waits<R> {
    /// `None`: there are none.
    pub(super) fn new(service: Arc<Service>, prepared: Arc<Prepared>, checks: Vec<(Box<Asked>, R)>) -> Option<Self> {
        let checks: Vec<_> = checks.into_iter().map(|(asked, respond)| (asked, Some(respond))).collect();
        let over = Box::pin(sleep(first_end(&checks)?.since(service.clock.now()).into()));
        Some(Self { service, prepared, checks, over, delayed: Tasks::default(), answered: false })
    }

    /// Answers the checks that can be decided; with `is_over` those that wait no longer, too.
    fn answer(&mut self, cx: &mut Context<'_>, is_over: bool) {
        let Self { service, prepared, checks, delayed, answered, .. } = self;
        let mut trying = Trying::new(&service.limiter);
        let now = is_over.then(|| service.clock.now());
        checks.retain_mut(|(asked, to)| {
            let Some(respond) = to else { return false };
            let is_over = now.is_some_and(|now| asked.until() <= now);
            match asked.poll_decided(cx, &mut trying, is_over) {
                Poll::Pending => return respond.poll_gone(cx).is_pending(),
                Poll::Ready(Ok(reply)) if reply.delay.is_zero() => {
                    *answered |= respond.send(prepared, reply.frame) > 0;
                }
                Poll::Ready(Ok(reply)) => {
                    if let Some(respond) = to.take() {
                        let settled = checks::settle_to(service, prepared, Answer::Reply(reply), respond);
                        delayed.spawn(settled);
                    }
                }
                Poll::Ready(Err(error)) => respond.send_error(&error.status()),
            }
            false
        });
    }
}

impl<R: Responder + Unpin> Future for Waits<R> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        loop {
            let is_over = !this.checks.is_empty() && this.over.as_mut().poll(cx).is_ready();
            this.answer(cx, is_over);
            match first_end(&this.checks).filter(|_| is_over) {
                Some(end) => this.over.as_mut().set(sleep(end.since(this.service.clock.now()).into())),
                None => break,
            }
        }
        let progress = this.delayed.advance(cx);
        this.answered |= progress.answered;
        if progress.more {
            cx.waker().wake_by_ref();
        }
        if this.checks.is_empty() && this.delayed.len() == 0 { Poll::Ready(this.answered) } else { Poll::Pending }
    }
}

fn first_end<R>(checks: &[(Box<Asked>, Option<R>)]) -> Option<Timestamp> {
    checks.iter().map(|(asked, _)| asked.until()).min()
}
