//! Detects HTTP/1 or HTTP/2 by the first bytes of a connection, and closes the connection of a peer that sends none.

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::http2::frame::PREFACE;
use crate::runtime::OnceAMinute;
use crate::runtime::lifecycle::Phases;

/// The protocol of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1, or anything that is not HTTP/2.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Why no protocol was detected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    /// The peer sent nothing, or too little, for ten seconds.
    #[error("the peer sent nothing in time")]
    Silent,
    /// The peer closed the connection.
    #[error("the peer closed the connection: {0}")]
    Left(#[from] io::Error),
}

/// A connection whose first bytes were read; reading it returns them again.
#[derive(Debug)]
pub(crate) struct Opened<S> {
    first: [u8; PREFACE.len()],
    /// The part of `first` that has not been read again.
    unread: std::ops::Range<usize>,
    stream: S,
}

/// Reads as much as is necessary to detect the protocol.
///
/// # Errors
/// The peer closes the connection, or sends nothing.
pub(crate) async fn open<S: AsyncRead + Unpin>(stream: S) -> Result<(Protocol, Opened<S>), OpeningError> {
    open_within(DEADLINE, stream).await
}

/// As [`open`], until the process stops: then the peer of a connection that has been accepted has little time left for its first bytes,
/// which may be on their way, so that its request is answered and not reset.
///
/// # Errors
/// The peer closes the connection, or sends nothing.
pub(crate) async fn open_while_serving<S: AsyncRead + Unpin>(
    stream: S,
    phases: &mut Phases,
) -> Result<(Protocol, Opened<S>), OpeningError> {
    tokio::select! {
        biased;
        opened = open(stream) => opened,
        () = too_late(phases) => Err(OpeningError::Silent),
    }
}

/// Waits until the process has begun to stop, and what a peer has sent before may still have arrived. Cancel safe.
pub(super) async fn too_late(phases: &mut Phases) {
    phases.stopping().await;
    tokio::time::sleep(STOPPING_DEADLINE).await;
}

async fn open_within<S: AsyncRead + Unpin>(
    deadline: Duration,
    stream: S,
) -> Result<(Protocol, Opened<S>), OpeningError> {
    timeout(deadline, read_first(stream)).await.map_err(|_| OpeningError::Silent)?.map_err(OpeningError::Left)
}

async fn read_first<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Protocol, Opened<S>)> {
    let mut first = [0; PREFACE.len()];
    let mut filled = 0;
    loop {
        let read = match first.get_mut(filled..) {
            Some(room) => stream.read(room).await?,
            None => 0,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled = filled.saturating_add(read);
        let protocol = match first.get(..filled) {
            Some(bytes) if bytes == PREFACE => Protocol::Http2,
            Some(bytes) if PREFACE.starts_with(bytes) => continue,
            // The version follows the type of the record.
            Some([TLS_HANDSHAKE]) => continue,
            Some([TLS_HANDSHAKE, 3, ..]) => {
                note_tls();
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer uses TLS, this port does not"));
            }
            _ => Protocol::Http1,
        };
        return Ok((protocol, Opened { first, unread: 0..filled, stream }));
    }
}

/// Counts a client that uses TLS on a port without it, and logs one a minute.
fn note_tls() {
    static SAID: LazyLock<OnceAMinute> = LazyLock::new(OnceAMinute::default);
    let count = TLS_ON_PLAIN.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    if SAID.may_say() {
        tracing::warn!(count, "a client uses TLS on a port without it: give the port a certificate, or use http://");
    }
}

/// Connections with TLS to ports without it, since the start.
pub(crate) fn tls_on_plain_ports() -> u64 {
    TLS_ON_PLAIN.load(Ordering::Relaxed)
}

static TLS_ON_PLAIN: AtomicU64 = AtomicU64::new(0);
/// The type of the first record of TLS (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, out);
        }
        let length = this.unread.len().min(out.remaining());
        let end = this.unread.start.saturating_add(length);
        out.put_slice(this.first.get(this.unread.start..end).unwrap_or_default());
        this.unread.start = end;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }
}

/// Clients send the preface at once; ten seconds are enough for a slow network, and bound what silent peers occupy.
const DEADLINE: Duration = Duration::from_secs(10);
/// The same, once the process stops: a round trip to a far client.
const STOPPING_DEADLINE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_show_the_protocol() {
        let cases: [(&[u8], Option<Protocol>); 6] = [
            (b"GET / HTTP/1.1\r\n\r\n", Some(Protocol::Http1)),
            (b"POST /json HTTP/1.1\r\n\r\n", Some(Protocol::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", Some(Protocol::Http2)),
            (b"\x16\x03\x01", None),
            (b"PRI * HT", None),
            (b"", None),
        ];
        for (bytes, want) in cases {
            let got = open(bytes).await.ok().map(|(protocol, _)| protocol);
            assert_eq!(got, want, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_silent_peer_is_given_up() {
        let (_peer, ours) = tokio::io::duplex(64);
        assert!(matches!(open_within(Duration::ZERO, ours).await, Err(OpeningError::Silent)));
    }
}
