//! One connection of a worker: all checks that have arrived are decided, then the answers are sent in one write.
//!
//! The HTTP/2 state machine is that of the `h2` crate; hyper would add a task, a boxed future and a `date` header to each
//! decision. A check whose request arrived in one piece is decided in place, with one reading of the clock and one view of the
//! rules for all that arrived together. Everything else (requests in pieces, compressed or too large ones, the other services)
//! is served as by any tonic service, in a task of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::keepalive::Keepalive;
use super::services::Services;
use super::stream::{Payload, Pieces};
use crate::net::{Slot, h2_builder};
use crate::runtime::lifecycle::Phases;

/// Serves one HTTP/2 connection until it ends.
///
/// # Errors
/// The peer violates the protocol or sends nothing for too long, or the socket fails.
pub(super) async fn serve<S>(
    stream: S,
    services: Services,
    slot: Arc<Slot>,
    mut phases: Phases,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let services = services.of_connection();
    let mut connection = h2_builder().handshake(stream).await?;
    let keepalive = Keepalive::new(connection.ping_pong());
    let stopping: Stopping = Box::pin(async move { phases.stopping().await });
    let stopping = Some(stopping);
    Serving { connection, services, slot, keepalive, stopping, said_goodbye: false, batch: Vec::new(), longest: 0 }
        .await
}

type Stopping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The state of a connection.
struct Serving<S> {
    connection: Connection<S, Payload>,
    services: Services,
    slot: Arc<Slot>,
    keepalive: Keepalive,
    /// Waits for the process to stop; `None` afterwards.
    stopping: Option<Stopping>,
    /// Whether the peer knows that the connection ends.
    said_goodbye: bool,
    /// Requests that arrived together; empty between polls, kept for its allocation.
    batch: Vec<(Request<RecvStream>, SendResponse<Payload>)>,
    /// The longest answer since there were no unread ones, in bytes.
    longest: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Serving<S> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.stopping.as_mut().is_some_and(|stopping| stopping.as_mut().poll(cx).is_ready()) {
            this.stopping = None;
            this.connection.graceful_shutdown();
        }
        if !this.slot.begin_turn(cx.waker()) {
            this.say_goodbye();
        }
        loop {
            // Polling for more requests also writes the answers of the previous batch.
            let ended = this.accept(cx);
            if this.batch.is_empty() {
                let Poll::Ready(ended) = ended else { break };
                return Poll::Ready(ended);
            }
            this.keepalive.heard();
            this.slot.heard();
            this.answer(cx);
        }
        this.count_streams();
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

    /// Counts what is open, and the answers that wait because the peer does not read them. Cost: a lock of the connection, in each turn.
    fn count_streams(&mut self) {
        let open = self.connection.num_wired_streams();
        self.slot.set_open(open);
        // The others have a task each, which holds their answer until it is read.
        let unread = open.saturating_sub(self.services.tasks());
        if unread == 0 {
            self.longest = 0;
        }
        self.slot.set_unread(unread.saturating_mul(STREAM_BYTES.saturating_add(self.longest)));
    }

    fn answer(&mut self, cx: &mut Context<'_>) {
        let batch = self.services.batch();
        for (request, mut respond) in self.batch.drain(..) {
            let (head, body) = request.map(Pieces::new).into_parts();
            if !Services::is_check(&head) {
                self.services.other(Request::from_parts(head, body), respond);
                continue;
            }
            match body.whole(cx) {
                Ok(framed) => {
                    self.longest = self.longest.max(self.services.check(&batch, head, framed, respond));
                }
                // What was reset meanwhile needs no task.
                Err(_) if respond.poll_reset(cx).is_ready() => {}
                Err(pieces) => self.services.check_later(Request::from_parts(head, pieces), respond),
            }
        }
        self.batch.shrink_to(KEPT_ROOM);
    }
}

/// What the `h2` crate keeps of a stream whose answer is not sent: its state, two blocks of headers and the message.
const STREAM_BYTES: usize = 2 << 10;

/// More than one read contains of small checks; with more, the first one would wait for long.
const MAX_BATCH: usize = 256;
/// The capacity for a batch that an idle connection keeps: a few hundred bytes for each request.
const KEPT_ROOM: usize = 64;

#[cfg(test)]
mod tests;
