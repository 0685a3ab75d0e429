//! Checks that arrive in pieces.
//!
//! While a client takes its time, its request is one buffer; tonic's service, which has buffers and futures of its own, begins when there is
//! something to decide.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt;

/// Waits for the end of the request, or for as much of it as shows that it cannot be accepted.
pub(super) async fn arrived<B>(request: Request<B>) -> Request<Arrived<B>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, mut rest) = request.into_parts();
    // One buffer, because a client may send byte by byte, and each piece would need an allocation.
    let mut read = BytesMut::new();
    let mut failed = None;
    while !is_too_large(&read) {
        match rest.frame().await.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(piece))) => read.extend_from_slice(&piece),
            Some(Err(error)) => {
                failed = Some(error);
                break;
            }
            // Trailers, which callers do not send, or the end.
            Some(Ok(Err(_))) | None => break,
        }
    }
    let read = (!read.is_empty()).then(|| read.freeze());
    Request::from_parts(head, Arrived { read, failed, rest })
}

/// Whether the first message is longer than any may be, or something follows it.
pub(super) fn is_too_large(read: &[u8]) -> bool {
    let Some(([_, length @ ..], message)) = read.split_first_chunk::<5>() else { return false };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    length > crate::net::MAX_MESSAGE_BYTES || message.len() > length
}

/// A body of which the beginning was read.
#[derive(Debug)]
pub(super) struct Arrived<B: Body> {
    read: Option<Bytes>,
    failed: Option<B::Error>,
    rest: B,
}

impl<B> Body for Arrived<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(read) = this.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(failed) = this.failed.take() {
            return Poll::Ready(Some(Err(failed)));
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.failed.is_none() && self.rest.is_end_stream()
    }
}
