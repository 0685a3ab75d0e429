//! Pings on an idle connection: a peer that vanished without a word frees its slot.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep};

use crate::net::{PING_INTERVAL, PING_TIMEOUT};

/// Watches over one connection.
///
/// Cost: a look at a timer per poll. It is set again only when it fires, so between two pings lies up to twice the interval.
pub(super) struct Keepalive {
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    /// Whether the peer sent anything since the timer was set.
    heard: bool,
    /// Whether a ping is on its way.
    asked: bool,
}

impl Keepalive {
    /// `pings` of a new connection.
    pub(super) fn new(pings: Option<PingPong>) -> Self {
        Self { pings, timer: Box::pin(sleep(PING_INTERVAL)), heard: false, asked: false }
    }

    /// The peer sent something.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    /// Ready when the peer answers no ping.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.asked && pings.poll_pong(cx).is_ready() {
                self.heard = true;
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.asked && !self.heard {
                return Poll::Ready(());
            }
            // A ping that cannot be sent means that the connection is ending, which its poll reports.
            self.asked = !self.heard && pings.send_ping(Ping::opaque()).is_ok();
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

    /// Whether a server gives its peer up within ten minutes in which nothing is asked.
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
