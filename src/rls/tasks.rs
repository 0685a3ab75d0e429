//! The streams of a connection that take longer than a turn: requests in pieces, delayed answers, calls of other services.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream};

/// What serves one stream; whether the peer got an answer.
type Task = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The tasks of one connection, which run in its turns, so that many of them take no more time from other connections than one does.
#[derive(Default)]
pub(super) struct Tasks(FuturesUnordered<Task>);

/// What a turn of the tasks has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Some have ended.
    pub(super) ended: bool,
    /// Peers got answers.
    pub(super) answered: bool,
    /// More may end at once: the connection needs another turn.
    pub(super) more: bool,
}

impl Tasks {
    /// Adds a task, which begins in the next turn of the tasks.
    pub(super) fn spawn(&self, serve: impl Future<Output = bool> + Send + 'static) {
        self.0.push(Box::pin(serve));
    }

    /// The number of tasks.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Runs the tasks that are ready. Without tasks it costs nothing.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.0.is_empty() {
            return Progress::default();
        }
        let mut progress = Progress { more: true, ..Progress::default() };
        for _ in 0..MAX_ENDED {
            match Pin::new(&mut self.0).poll_next(cx) {
                Poll::Ready(Some(answered)) => {
                    progress.ended = true;
                    progress.answered |= answered;
                }
                Poll::Ready(None) | Poll::Pending => {
                    progress.more = false;
                    break;
                }
            }
        }
        progress
    }
}

/// As many checks as arrive in one read, of clients that send each in pieces.
const MAX_ENDED: usize = 32;
