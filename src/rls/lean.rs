//! One connection of a worker, on our own HTTP/2: all checks that have arrived are decided, then the answers are sent in one write.
//!
//! A check whose request arrived with one read is decided from the bytes that were read, or, where many connections bring one each, together with those of the
//! others ([`gathered`]); its answer is encoded among the bytes to send. One that arrives in pieces is a buffer until it is complete ([`incomplete`]).
//! Everything else is served as by `rls::connection`: by tonic's services, in one of the connection's tasks. Bounds, turns and timeouts are the same.

mod gathered;
mod head;
mod incomplete;
mod reading;
mod wire;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) use self::gathered::Gathered;
use self::incomplete::Incomplete;
use self::reading::{Progress, Reading};
use self::wire::{Settled, Wire};
use super::age::Age;
use super::connection::STREAM_BYTES;
use super::ending::Ending;
use super::keepalive::Keepalive;
use super::services::Services;
use super::tasks::Tasks;
use crate::http2::frame::ENHANCE_YOUR_CALM;
use crate::http2::server::Violation;
use crate::net::{FEW_STREAMS, Slot, lean_limits};
use crate::runtime::disposal::dispose;
use crate::runtime::lifecycle::Phases;

/// Why a connection has ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The peer has violated the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The socket has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Ended {
    /// Whether that is because of how much the peer sent.
    pub(super) fn is_flood(&self) -> bool {
        matches!(self, Self::Violation(violation) if violation.code == ENHANCE_YOUR_CALM)
    }
}

/// Serves one HTTP/2 connection until it ends.
///
/// # Errors
/// The peer violates the protocol or sends nothing for too long, or the socket fails.
pub(super) async fn serve<S>(
    stream: S,
    services: Services,
    slot: Arc<Slot>,
    phases: Phases,
    age: Option<Age>,
    gathered: Gathered,
) -> Result<(), Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let services = services.of_connection(Arc::clone(&slot));
    let wire = Wire::new(lean_limits());
    let keepalive = Keepalive::new(Some(wire.clone()));
    let mut serving = Serving {
        stream,
        wire,
        rest: Vec::new(),
        incomplete: Incomplete::default(),
        services,
        gathered,
        tasks: Tasks::default(),
        slot,
        keepalive,
        ending: Ending::new(age, phases),
        violation: None,
        is_unflushed: false,
    };
    let ended = (&mut serving).await;
    let open = serving.wire.lock().connection.open_count();
    if open > FEW_STREAMS || serving.tasks.len() > FEW_STREAMS {
        dispose(serving);
    }
    ended
}

/// The state of a connection.
struct Serving<S> {
    stream: S,
    wire: Wire,
    /// The beginning of a frame whose end has not arrived: one frame at most.
    rest: Vec<u8>,
    /// Checks whose requests have begun to arrive.
    incomplete: Incomplete,
    services: Services,
    gathered: Gathered,
    tasks: Tasks,
    slot: Arc<Slot>,
    keepalive: Keepalive<Wire>,
    ending: Ending,
    /// What the peer did, once the connection is to end for it.
    violation: Option<Violation>,
    /// Bytes were written that may not be in the socket yet.
    is_unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for &mut Serving<S> {
    type Output = Result<(), Ended>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut **self.get_mut();
        this.wire.lock().driven_by(cx);
        let Some(farewell) = this.ending.begin_turn(&this.slot, cx) else { return Poll::Ready(Ok(())) };
        if farewell.shut_down {
            this.wire.lock().connection.shut_down();
        }
        if farewell.say_goodbye {
            this.say_goodbye();
        }
        let mut answered = this.settle();
        loop {
            if this.poll_write(cx)?.is_ready() && this.wire.lock().connection.is_over() {
                std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                return Poll::Ready(this.violation.take().map_or(Ok(()), |violation| Err(violation.into())));
            }
            match this.poll_read(cx)? {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(progress)) => {
                    if progress.heard {
                        this.keepalive.heard();
                        this.slot.heard();
                    }
                    answered |= progress.answered;
                    continue;
                }
                Poll::Pending => {}
            }
            let progress = this.tasks.advance(cx);
            answered |= progress.answered;
            if progress.more {
                // The others first.
                cx.waker().wake_by_ref();
            }
            if progress.more || !progress.ended {
                break;
            }
        }
        // The peer has disappeared: dropping the connection closes it.
        if this.keepalive.poll_lost(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        this.incomplete.end_late(&this.wire, cx);
        // What the tasks have written, a ping, and answers to those that are late.
        let is_written = this.poll_write(cx)?.is_ready();
        if is_written && this.wire.lock().connection.is_over() {
            cx.waker().wake_by_ref();
        }
        if this.count_streams() == 0 && answered {
            this.slot.earn();
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    /// Writes what there is to be sent; pending while the socket does not take all of it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut shared = self.wire.lock();
        let was_clogged = shared.connection.is_clogged();
        while !shared.connection.pending().is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, shared.connection.pending()) else {
                return Ok(Poll::Pending);
            };
            let written = written?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.is_unflushed = true;
            shared.connection.sent(written);
            if shared.connection.pending().is_empty() && shared.connection.flush() {
                shared.wake_writers();
            }
        }
        if was_clogged {
            shared.wake_writers();
        }
        drop(shared);
        if self.is_unflushed {
            let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) else { return Ok(Poll::Pending) };
            flushed?;
            self.is_unflushed = false;
        }
        Ok(Poll::Ready(()))
    }

    /// Reads once, and does what was asked; `None`: the peer has closed the connection. Pending too while the peer does not read: it is not
    /// read from then.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<Option<Progress>>> {
        {
            let shared = self.wire.lock();
            if self.violation.is_some() || shared.connection.is_clogged() {
                return Ok(Poll::Pending);
            }
        }
        // It is cleared once in a thread, not for every read.
        let mut bytes = BUFFER.take();
        bytes.resize(READ_BYTES, 0);
        let progress = self.poll_read_into(&mut bytes, cx);
        BUFFER.set(bytes);
        progress
    }

    /// The same, by way of this buffer.
    fn poll_read_into(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> io::Result<Poll<Option<Progress>>> {
        let mut buffer = ReadBuf::new(buffer);
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer) else {
            return Ok(Poll::Pending);
        };
        read?;
        let is_undecided = self.wire.lock().undecided > 0;
        if is_undecided {
            // Checks are decided in the order of their arrival, and a peer that sends no more waits for its answers.
            self.gathered.decide(&self.services);
        }
        if buffer.filled().is_empty() {
            let answered = self.settle();
            return Ok(Poll::Ready(is_undecided.then_some(Progress { answered, ..Progress::default() })));
        }
        let mut rest = std::mem::take(&mut self.rest);
        let reading = Reading::new(&self.wire, &self.services, &self.gathered, &self.tasks, &mut self.incomplete);
        let progress = if rest.is_empty() {
            let (progress, left) = reading.take(buffer.filled());
            rest.extend_from_slice(left);
            progress
        } else {
            rest.extend_from_slice(buffer.filled());
            let (progress, left) = reading.take(&rest);
            let taken = rest.len() - left.len();
            rest.drain(..taken);
            progress
        };
        self.violation = self.violation.or(progress.violation);
        if rest.is_empty() {
            rest.shrink_to(KEPT_BYTES);
        }
        self.rest = rest;
        Ok(Poll::Ready(Some(progress)))
    }

    /// Takes what came of checks that were decided with those of other connections. Returns whether there were answers.
    fn settle(&mut self) -> bool {
        let Settled { answered, later } = std::mem::take(&mut self.wire.lock().settled);
        let later = later.into_iter().map(|(id, answer)| (answer, self.wire.answer(id)));
        self.services.settle_later(&self.tasks, later.collect());
        answered
    }

    /// Tells the peer that the connection ends.
    fn say_goodbye(&mut self) {
        let mut shared = self.wire.lock();
        if self.slot.is_hostile() {
            shared.connection.fail(ENHANCE_YOUR_CALM);
        } else {
            shared.connection.shut_down();
        }
    }

    /// Counts what is open, and returns the number of answers that wait because the peer does not read them.
    fn count_streams(&mut self) -> usize {
        let shared = self.wire.lock();
        self.slot.set_open(shared.connection.open_count());
        let (bytes, answers) = shared.connection.unsent();
        let pending = shared.connection.pending().len();
        self.slot.set_unread(bytes.saturating_add(answers.saturating_mul(STREAM_BYTES)).saturating_add(pending));
        answers.saturating_add(usize::from(pending > 0))
    }
}

thread_local! {
    /// What is read into: what it held before is of no concern.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes that are read at once: those of a turn.
const READ_BYTES: usize = 16 << 10;

/// The capacity for an incomplete frame that a connection keeps.
const KEPT_BYTES: usize = 1 << 10;
