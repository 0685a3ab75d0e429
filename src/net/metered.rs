//! What a connection may cost the others of its thread: how much it reads at a time, how much of it may be frames that ask for nothing, and how
//! long its peer may take to read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::closed::Closed;
use super::frames::Frames;
use super::slots::{FEW_STREAMS, Slot};

/// A connection whose reading and writing is bounded.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    slot: Arc<Slot>,
    /// `None`: the protocol is not HTTP/2.
    frames: Option<Box<Frames>>,
    /// The peer does not read.
    blocked: Option<Blocked>,
    /// Nothing more is read, because something that was read has been dropped.
    is_flooded: bool,
}

/// Since the socket took less than it was given.
#[derive(Debug)]
struct Blocked {
    deadline: Pin<Box<Sleep>>,
    written: usize,
}

impl<S> Metered<S> {
    /// A connection of HTTP/1.
    pub(crate) fn http1(stream: S, slot: Arc<Slot>) -> Self {
        Self { stream, slot, frames: None, blocked: None, is_flooded: false }
    }

    /// A connection of HTTP/2, of which nothing has been read.
    pub(crate) fn http2(stream: S, slot: Arc<Slot>) -> Self {
        Self { frames: Some(Box::default()), ..Self::http1(stream, slot) }
    }

    /// Looks at the time when the peer does not read.
    fn poll_blocked<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = || Blocked { deadline: Box::pin(sleep(WRITE_TIMEOUT)), written: 0 };
        let blocked = self.blocked.get_or_insert_with(deadline);
        std::task::ready!(blocked.deadline.as_mut().poll(cx));
        self.slot.count(Closed::SlowReader);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The outcome of a write of `wanted` bytes.
    fn written(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Pending => return self.poll_blocked(cx),
            Poll::Ready(Ok(written)) => {
                if let Some(frames) = &mut self.frames {
                    frames.wrote(*written);
                }
                if let Some(blocked) = &mut self.blocked {
                    blocked.written = blocked.written.saturating_add(*written);
                    if *written == wanted || blocked.written >= MIN_READ_BYTES {
                        self.blocked = None;
                    }
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = this.slot.may_read();
        if most == 0 {
            // The others first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.is_flooded {
            return Poll::Pending;
        }
        if this.slot.has_read_nothing()
            && let Some(frames) = &mut this.frames
        {
            frames.begin_turn(this.slot.open());
        }
        let before = out.filled().len();
        std::task::ready!(poll_read_most(&mut this.stream, cx, out, most))?;
        let read = out.filled().get(before..).unwrap_or_default();
        if read.is_empty() && this.slot.open() > FEW_STREAMS {
            // The news would take milliseconds to reach each stream.
            this.slot.leave();
            return Poll::Pending;
        }
        this.slot.spend(read.len());
        if let Some(frames) = &mut this.frames
            && !frames.read(read)
        {
            // What was read is not processed: it may cost more than the bound is about.
            out.set_filled(before);
            this.is_flooded = true;
            this.slot.end(Closed::Flood);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads at most so many bytes; a buffer that is larger, as those of turns on probation are, is cleared so far.
fn poll_read_most<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    out: &mut ReadBuf<'_>,
    most: usize,
) -> Poll<io::Result<()>> {
    if out.remaining() <= most {
        return Pin::new(stream).poll_read(cx, out);
    }
    let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
    std::task::ready!(Pin::new(stream).poll_read(cx, &mut part))?;
    let read = part.filled().len();
    out.advance(read);
    Poll::Ready(Ok(()))
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(outcome, bytes.len(), cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Pending => this.poll_blocked(cx),
            Poll::Ready(flushed) => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_shutdown(cx) {
            Poll::Pending => this.poll_blocked(cx),
            Poll::Ready(shut_down) => Poll::Ready(shut_down),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(outcome, slices.iter().map(|slice| slice.len()).sum(), cx)
    }
}

/// For a peer that does not read: a client that is stopped for longer has to connect again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a peer has to read within this time, once it has fallen behind.
const MIN_READ_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::{ConnectionLimit, Turn};

    fn slot(limit: &ConnectionLimit) -> Arc<Slot> {
        Arc::clone(limit.take(None).unwrap().slot())
    }

    fn closed(limit: &ConnectionLimit, reason: &str) -> u64 {
        limit.closed().find(|(_, name, _)| *name == reason).unwrap().2
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up_and_one_that_reads_slowly_is_not() {
        let limit = ConnectionLimit::new("test", 10, 0);
        let (mut peer, ours) = tokio::io::duplex(1 << 10);
        let mut ours = Metered::http1(ours, slot(&limit));
        let all = vec![0; 8 << 20];
        let mut pauses = 0;
        let reading = async {
            // 64 KiB in each 25 s.
            for _ in 0..8 {
                sleep(Duration::from_secs(25)).await;
                peer.read_exact(&mut vec![0; 64 << 10]).await.unwrap();
                pauses += 1;
            }
            std::future::pending::<()>().await;
        };
        let written = tokio::select! { written = ours.write_all(&all) => written, () = reading => unreachable!() };
        assert_eq!((written.unwrap_err().kind(), pauses), (io::ErrorKind::TimedOut, 8));
        assert_eq!(closed(&limit, "slow_reader"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_a_byte_now_and_then_is_given_up() {
        let limit = ConnectionLimit::new("test", 10, 0);
        let (mut peer, ours) = tokio::io::duplex(1 << 10);
        let mut ours = Metered::http1(ours, slot(&limit));
        let reading = async {
            loop {
                sleep(Duration::from_secs(5)).await;
                let _ended = peer.read_u8().await;
            }
        };
        let all = vec![0; 1 << 20];
        let writing = tokio::time::timeout(Duration::from_mins(2), ours.write_all(&all));
        let written = tokio::select! { written = writing => written, () = reading => unreachable!() };
        assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_turn_ends_after_some_bytes() {
        let limit = ConnectionLimit::new("test", 10, 0);
        let (mut peer, ours) = tokio::io::duplex(1 << 20);
        let slot = slot(&limit);
        let mut ours = Metered::http1(ours, Arc::clone(&slot));
        peer.write_all(&vec![0; 100 << 10]).await.unwrap();
        let (mut total, mut turns) = (0, 0);
        let mut buffer = vec![0; 8 << 10];
        while total < 100 << 10 {
            turns += 1;
            let mut cx = Context::from_waker(std::task::Waker::noop());
            slot.earn();
            assert_eq!(slot.begin_turn(cx.waker()), Turn::Serve);
            loop {
                let mut out = ReadBuf::new(&mut buffer);
                let Poll::Ready(read) = Pin::new(&mut ours).poll_read(&mut cx, &mut out) else { break };
                read.unwrap();
                total += out.filled().len();
            }
        }
        assert_eq!(turns, 7, "turns of 16 KiB");
    }
}
