//! One connection of a worker: all checks that have arrived are decided, then the answers are sent in one write.
//!
//! The HTTP/2 state machine is that of the `h2` crate; hyper would add a task, a boxed future and a `date` header to each
//! decision. A check whose request arrived in one piece is decided in place, with one reading of the clock and one view of the
//! rules for all that arrived together. Everything else (requests in pieces, compressed or too large ones, the other services)
//! is served as by any tonic service, by one of the connection's tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use h2::server::{Connection, SendResponse};
use h2::{PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::age::Age;
use super::ending::Ending;
use super::keepalive::Keepalive;
use super::services::{Services, WholeCheck};
use super::stream::{Payload, Pieces};
use super::tasks::Tasks;
use crate::net::{FEW_STREAMS, Slot, h2_builder};
use crate::runtime::disposal::dispose;
use crate::runtime::lifecycle::Phases;

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
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let services = services.of_connection(Arc::clone(&slot));
    let mut connection = h2_builder().handshake(stream).await?;
    let keepalive = Keepalive::new(connection.ping_pong());
    let mut serving = Serving {
        connection,
        services,
        tasks: Tasks::default(),
        slot,
        keepalive,
        ending: Ending::new(age, phases),
        said_goodbye: false,
        batch: Vec::new(),
        longest: 0,
    };
    let ended = (&mut serving).await;
    if serving.connection.num_wired_streams() > FEW_STREAMS || serving.tasks.len() > FEW_STREAMS {
        dispose(serving);
    }
    ended
}

/// The state of a connection.
struct Serving<S> {
    connection: Connection<S, Payload>,
    services: Services,
    tasks: Tasks,
    slot: Arc<Slot>,
    keepalive: Keepalive<PingPong>,
    ending: Ending,
    /// Whether the peer knows that the connection ends.
    said_goodbye: bool,
    /// Requests that arrived together; empty between polls, kept for its allocation.
    batch: Vec<(Request<RecvStream>, SendResponse<Payload>)>,
    /// The longest answer since there were no unread ones, in bytes.
    longest: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for &mut Serving<S> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut **self.get_mut();
        let Some(farewell) = this.ending.begin_turn(&this.slot, cx) else { return Poll::Ready(Ok(())) };
        if farewell.shut_down {
            this.connection.graceful_shutdown();
        }
        if farewell.say_goodbye {
            this.say_goodbye();
        }
        let mut answered = false;
        loop {
            // Polling for more requests also writes the answers of the previous batch, and of the tasks.
            let ended = this.accept(cx);
            if !this.batch.is_empty() {
                this.keepalive.heard();
                this.slot.heard();
                answered |= this.answer(cx);
                continue;
            }
            if let Poll::Ready(ended) = ended {
                return Poll::Ready(ended);
            }
            let progress = this.tasks.advance(cx);
            answered |= progress.answered;
            if progress.more {
                // The others first.
                cx.waker().wake_by_ref();
                break;
            }
            if !progress.ended {
                break;
            }
        }
        if this.count_streams() == 0 && answered {
            this.slot.earn();
        }
        // The peer has disappeared: dropping the connection closes it.
        this.keepalive.poll_lost(cx).map(Ok)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    /// Accepts the requests that have arrived; ready when the connection has ended.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while self.batch.len() < MAX_BATCH {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(accepted))) => self.batch.push(accepted),
                Poll::Ready(ended) => {
                    // No caller is left.
                    self.batch.clear();
                    return Poll::Ready(ended.map_or(Ok(()), |accepted| accepted.map(drop)));
                }
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Tells the peer that the connection ends.
    fn say_goodbye(&mut self) {
        if std::mem::replace(&mut self.said_goodbye, true) {
            return;
        }
        if self.slot.is_hostile() {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        } else {
            self.connection.graceful_shutdown();
        }
    }

    /// Counts what is open, and returns the number of answers that wait because the peer does not read them. Cost: a lock of the connection,
    /// in each turn.
    fn count_streams(&mut self) -> usize {
        let open = self.connection.num_wired_streams();
        self.slot.set_open(open);
        // The others have a task each, which holds their answer until it is read.
        let unread = open.saturating_sub(self.tasks.len());
        if unread == 0 {
            self.longest = 0;
        }
        self.slot.set_unread(unread.saturating_mul(STREAM_BYTES.saturating_add(self.longest)));
        unread
    }

    /// Answers the requests that have arrived; whether there was an answer that could be sent.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        let batch = self.services.batch();
        let mut checks = Vec::with_capacity(self.batch.len());
        for (request, mut respond) in self.batch.drain(..) {
            let (head, body) = request.map(Pieces::new).into_parts();
            if !Services::is_check(&head) {
                self.services.other(&self.tasks, Request::from_parts(head, body), respond);
                continue;
            }
            match body.whole(cx) {
                Ok(whole) => match WholeCheck::new(head, whole, respond) {
                    Ok(check) => checks.push(check),
                    Err((request, respond)) => self.services.check_later(&self.tasks, request, respond),
                },
                // What was reset meanwhile needs no task.
                Err(_) if respond.poll_reset(cx).is_ready() => {}
                Err(pieces) => self.services.check_later(&self.tasks, Request::from_parts(head, pieces), respond),
            }
        }
        self.batch.shrink_to(KEPT_ROOM);
        let length = self.services.checks(&self.tasks, &batch, checks);
        self.longest = self.longest.max(length);
        length > 0
    }
}

/// What the `h2` crate keeps of a stream whose answer is not sent: its state, two blocks of headers and the message. Our own connection keeps a
/// quarter of it, and counts as much, so that a peer may leave as many answers unread.
pub(super) const STREAM_BYTES: usize = 2 << 10;

/// More than one read contains of small checks; with more, the first one would wait for long.
const MAX_BATCH: usize = 256;
/// The capacity for a batch that an idle connection keeps: a few hundred bytes for each request.
const KEPT_ROOM: usize = 64;

#[cfg(test)]
pub(super) mod tests;
