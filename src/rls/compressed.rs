//! Compressed requests, which are decompressed only when they are complete.
//!
//! A message of 4 KiB may become 4 MiB. If it were decompressed while its stream is open, it would stay in memory for as long
//! as the client likes. So the stream has to end first, and the message is kept only for one decision.

use std::io::Read;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, Request};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tonic::Status;

use crate::api::rls::first_message;

/// Whether the messages of a request with these headers may be compressed.
pub(crate) fn names_encoding(headers: &HeaderMap) -> bool {
    headers.get(ENCODING).is_some_and(|encoding| encoding != "identity")
}

/// Waits for the end of the request, and returns it with only its first message, decompressed. If the message is not
/// compressed, the encoding in the headers does not matter.
///
/// # Errors
/// RESOURCE_EXHAUSTED: it is too large. INTERNAL: it is not gzip. Or the error that ended the stream early.
pub(crate) async fn gathered<B>(request: Request<B>) -> Result<Request<Full<Bytes>>, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut head, mut body) = request.into_parts();
    // One buffer, because a client may send byte by byte, and each piece would need an allocation.
    let mut framed = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|error| Status::from_error(error.into()))?.into_data() else { break };
        if framed.len().saturating_add(piece.len()) > MAX_BYTES {
            let message = format!("a compressed request of more than {MAX_BYTES} bytes");
            return Err(Status::resource_exhausted(message));
        }
        framed.extend_from_slice(&piece);
    }
    let (is_compressed, length) = first_message(&framed);
    framed.truncate(length);
    let mut framed = framed.freeze();
    let is_gzip = head.headers.get(ENCODING).is_some_and(|encoding| encoding == "gzip");
    if is_compressed
        && is_gzip
        && let Some(message) = whole_message(&framed)
    {
        framed = unzipped(message)?;
        head.headers.remove(ENCODING);
    } else if !is_compressed {
        head.headers.remove(ENCODING);
    }
    Ok(Request::from_parts(head, Full::new(framed)))
}

/// The message as an uncompressed frame. All members of the gzip file are read (RFC 1952 allows several): the first one alone
/// could be a different check.
fn unzipped(message: &[u8]) -> Result<Bytes, Status> {
    let mut plain = Vec::new();
    let most = crate::net::MAX_MESSAGE_BYTES;
    let read = MultiGzDecoder::new(message).take(most as u64 + 1).read_to_end(&mut plain);
    read.map_err(|error| Status::internal(format!("the message is not gzip: {error}")))?;
    let length = u32::try_from(plain.len()).ok().filter(|_| plain.len() <= most);
    let length = length.ok_or_else(|| {
        Status::resource_exhausted(format!("a message of more than {most} bytes once it is decompressed"))
    })?;
    let mut framed = BytesMut::with_capacity(plain.len() + 5);
    framed.put_u8(0);
    framed.put_u32(length);
    framed.extend_from_slice(&plain);
    Ok(framed.freeze())
}

/// The message of a complete frame, without the prefix.
fn whole_message(framed: &[u8]) -> Option<&[u8]> {
    let ([_, length @ ..], message) = framed.split_first_chunk::<5>()?;
    (usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len())).then_some(message)
}

const ENCODING: &str = "grpc-encoding";

/// The largest message with its prefix, and the overhead of gzip for an incompressible one.
const MAX_BYTES: usize = crate::net::MAX_MESSAGE_BYTES + 1024;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use http_body::Frame;

    use super::*;

    /// A body in pieces; `None` is a piece that has not arrived yet.
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

    fn request(pieces: &[Option<&'static [u8]>]) -> Request<Pieces> {
        let pieces = pieces.iter().map(|piece| piece.map(Bytes::from_static)).collect();
        Request::builder().header(ENCODING, "gzip").body(Pieces(pieces)).unwrap()
    }

    #[tokio::test]
    async fn a_body_is_gathered_to_its_first_message() {
        for (pieces, whole) in [
            (&[][..], &b""[..]),
            (&[&b""[..], b""], b""),
            (&[b"\0\0\0\0\x03abc"], b"\0\0\0\0\x03abc"),
            (&[b"\0\0\0", b"\0\x03", b"", b"ab", b"c"], b"\0\0\0\0\x03abc"),
            // More than one message: the first one is used, as in every unary call.
            (&[b"\0\0\0\0\x03abc\0\0\0\0\x03def"], b"\0\0\0\0\x03abc"),
            // An incomplete message: its reader reports the error.
            (&[b"\x01\0\0\0\x03ab"], b"\x01\0\0\0\x03ab"),
            (&[b"\x01\0"], b"\x01\0"),
            (&[b"\0\0\0\0\x01a"], b"\0\0\0\0\x01a"),
        ] {
            let pieces: Vec<_> = pieces.iter().copied().map(Some).collect();
            let (head, body) = gathered(request(&pieces)).await.unwrap().into_parts();
            assert_eq!(body.collect().await.unwrap().to_bytes(), whole, "{pieces:?}");
            assert_eq!(head.headers.contains_key(ENCODING), whole.len() >= 5 && whole[0] == 1, "{pieces:?}");
        }
    }

    #[test]
    fn nothing_is_handed_on_before_the_end() {
        let mut gathered = pin!(gathered(request(&[Some(b"\x01\0\0\0\0"), None])));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(gathered.as_mut().poll(&mut cx).is_pending());
        assert!(gathered.as_mut().poll(&mut cx).is_ready());
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_fails() {
        let pieces = vec![Some(&[0; 1024][..]); MAX_BYTES / 1024 + 1];
        let status = gathered(request(&pieces)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }
}
