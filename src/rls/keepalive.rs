//! Pings on idle connections, to close those whose peer has disappeared.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep};

use crate::net::{PING_INTERVAL, PING_TIMEOUT};

/// The pings of a connection.
pub(super) trait Pings {
    /// Sends one. `false`: it cannot be sent.
    fn ask(&mut self) -> bool;

    /// Whether the one that was sent has been answered.
    fn has_answered(&mut self, cx: &mut Context<'_>) -> bool;
}

impl Pings for PingPong {
    fn ask(&mut self) -> bool {
        self.send_ping(Ping::opaque()).is_ok()
    }

    fn has_answered(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_pong(cx).is_ready()
    }
}

/// The keepalive of one connection.
///
/// Cost: polling a timer. It is set again only when it fires, so the time between two pings is up to twice the interval.
pub(super) struct Keepalive<P> {
    pings: Option<P>,
    timer: Pin<Box<Sleep>>,
    /// Whether the peer has sent anything since the timer was set.
    heard: bool,
    /// Whether a ping is outstanding.
    asked: bool,
}

impl<P: Pings> Keepalive<P> {
    /// The keepalive of a new connection, with its `pings`.
    pub(super) fn new(pings: Option<P>) -> Self {
        Self { pings, timer: Box::pin(sleep(PING_INTERVAL)), heard: false, asked: false }
    }

    /// Records that the peer has sent something.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Ready when the peer has not answered a ping in time.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.asked && pings.has_answered(cx) {
                self.heard = true;
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.asked && !self.heard {
                return Poll::Ready(());
            }
            // If a ping cannot be sent, the connection is ending, which polling it will show.
            self.asked = !self.heard && pings.ask();
            self.heard = false;
            let next = if self.asked { PING_TIMEOUT } else { PING_INTERVAL };
            self.timer.set(sleep(next));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::time::Duration;

    use super::*;

    /// Whether a server closes the connection within ten idle minutes.
    async fn is_lost(peer_answers: bool) -> bool {
        let (theirs, ours) = tokio::io::duplex(64 << 10);
        let peer = async move {
            let (_open, connection) = h2::client::handshake(theirs).await.unwrap();
            if peer_answers {
                connection.await.unwrap();
            }
            pending::<()>().await;
        };
        let served = async {
            let mut connection = h2::server::handshake(ours).await.unwrap();
            let mut keepalive = Keepalive::new(connection.ping_pong());
            poll_fn(|cx| {
                assert!(connection.poll_accept(cx).is_pending(), "nothing is asked, and nobody hangs up");
                keepalive.poll_lost(cx)
            })
            .await;
        };
        tokio::select! {
            () = peer => false,
            lost = tokio::time::timeout(Duration::from_mins(10), served) => lost.is_ok(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_no_ping_is_given_up_and_one_that_does_is_kept() {
        assert!(is_lost(false).await);
        assert!(!is_lost(true).await);
    }
}
