//! Compressed requests, which are not looked into before they are complete.
//!
//! A message of 4 KiB may become 4 MiB. Decompressed while its stream stays open, it would wait there for as long as the
//! client likes; so the stream has to end first, and then the message lives for one decision.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codec::CompressionEncoding;

use crate::wire::first_message_bytes;

/// What requests may be compressed with, on every port: what the clients of the reference service know.
pub const ACCEPTED_ENCODING: CompressionEncoding = CompressionEncoding::Gzip;

/// Whether the messages of a request with these headers may be compressed.
pub(super) fn names_encoding(headers: &HeaderMap) -> bool {
    headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity")
}

/// A request body: as it comes, or the first message alone once the stream has ended.
#[derive(Debug)]
pub(super) struct Gathered<B> {
    inner: B,
    /// What has come so far of a body that is gathered; `None`: it is handed on.
    message: Option<BytesMut>,
}

impl<B> Gathered<B> {
    /// Gathers the body, if that is `wanted`.
    pub(super) fn new(inner: B, wanted: bool) -> Self {
        Self { inner, message: wanted.then(BytesMut::new) }
    }
}

impl<B> Body for Gathered<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        while let Some(message) = &mut this.message {
            let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx)).transpose().map_err(Into::into)?;
            // What ends the body, an empty end or trailers, has no data.
            let Some(piece) = frame.and_then(|frame| frame.into_data().ok()) else {
                message.truncate(first_message_bytes(message));
                let message = this.message.take().unwrap_or_default().freeze();
                return Poll::Ready((!message.is_empty()).then_some(Ok(Frame::data(message))));
            };
            if message.len().saturating_add(piece.len()) > MAX_BYTES {
                return Poll::Ready(Some(Err(too_large().into())));
            }
            message.extend_from_slice(&piece);
        }
        Pin::new(&mut this.inner).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.message.as_ref().is_none_or(BytesMut::is_empty) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn too_large() -> Status {
    Status::resource_exhausted(format!("a compressed request of more than {MAX_BYTES} bytes"))
}

/// A message that does not get smaller, and its prefix.
const MAX_BYTES: usize = super::MAX_MESSAGE_BYTES + 1024;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    /// A body in pieces; `None` has not come yet.
    struct Pieces(VecDeque<Option<Bytes>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.0.pop_front() {
                Some(None) => Poll::Pending,
                piece => Poll::Ready(piece.flatten().map(|piece| Ok(Frame::data(piece)))),
            }
        }
    }

    fn body(pieces: &[&'static [u8]], wanted: bool) -> Gathered<Pieces> {
        Gathered::new(Pieces(pieces.iter().map(|piece| Some(Bytes::from_static(piece))).collect()), wanted)
    }

    #[tokio::test]
    async fn a_body_is_gathered_to_its_first_message() {
        for (pieces, whole) in [
            (&[][..], None),
            (&[&b""[..], b""], None),
            (&[b"\x01\0\0\0\x03abc"], Some(&b"\x01\0\0\0\x03abc"[..])),
            (&[b"\x01\0\0", b"\0\x03", b"", b"ab", b"c"], Some(b"\x01\0\0\0\x03abc")),
            // More than one: the first counts, as everywhere in a unary call.
            (&[b"\x01\0\0\0\x03abc\x01\0\0\0\x03def"], Some(b"\x01\0\0\0\x03abc")),
            // Less than one: who reads it says so.
            (&[b"\x01\0\0\0\x03ab"], Some(b"\x01\0\0\0\x03ab")),
            (&[b"\x01\0"], Some(b"\x01\0")),
        ] {
            let mut body = body(pieces, true);
            let first = body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
            assert_eq!(first.as_deref(), whole, "{pieces:?}");
            assert!(body.frame().await.is_none(), "{pieces:?}");
        }
        let mut as_it_comes = body(&[b"a", b"b"], false);
        for piece in [b"a", b"b"] {
            assert_eq!(as_it_comes.frame().await.unwrap().unwrap().into_data().unwrap(), &piece[..]);
        }
    }

    #[test]
    fn nothing_is_handed_on_before_the_end() {
        let pieces = [Some(Bytes::from_static(b"\0\0\0\0\0")), None];
        let mut body = Gathered::new(Pieces(pieces.into()), true);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        assert!(!body.is_end_stream());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!("it has ended") };
        assert_eq!(frame.into_data().unwrap(), &b"\0\0\0\0\0"[..]);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_fails() {
        let mut body = body(&[&[0; MAX_BYTES], b"x"], true);
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast_ref::<Status>().unwrap().code(), tonic::Code::ResourceExhausted);
    }
}
