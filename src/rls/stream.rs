//! Adapts streams of the `h2` crate to tonic's services: request bodies and response bodies.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Cursor;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use http_body::{Body as HttpBody, Frame};
use tonic::body::Body;

/// The body of a request: pieces that were read already, then the rest of the stream.
#[derive(Debug)]
pub(super) struct Pieces {
    read: VecDeque<Bytes>,
    stream: RecvStream,
}

impl Pieces {
    /// A body of which nothing has been read.
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { read: VecDeque::new(), stream }
    }

    /// A body of which `piece` has been read.
    pub(super) fn after(piece: Bytes, stream: RecvStream) -> Self {
        Self { read: VecDeque::from([piece]), stream }
    }

    /// The whole body, if it has arrived in one piece; otherwise the body with everything that has been read.
    pub(super) fn whole(mut self, cx: &mut Context<'_>) -> Result<Whole, Self> {
        let Poll::Ready(Some(Ok(piece))) = poll_piece(&mut self.stream, cx) else { return Err(self) };
        if self.stream.is_end_stream() {
            return Ok(Whole { piece, stream: self.stream });
        }
        // The end may be in its own frame: an empty one, or trailers, which callers do not send.
        match poll_piece(&mut self.stream, cx) {
            Poll::Ready(None) => Ok(Whole { piece, stream: self.stream }),
            Poll::Ready(Some(Ok(more))) => {
                self.read.extend([piece, more]);
                Err(self)
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {
                self.read.push_back(piece);
                Err(self)
            }
        }
    }
}

/// A body that arrived in one piece.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) piece: Bytes,
    pub(super) stream: RecvStream,
}

/// The next piece; the window is renewed by its length.
fn poll_piece(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
    let piece = std::task::ready!(stream.poll_data(cx));
    if let Some(Ok(piece)) = &piece {
        // An error means that the stream has ended, and its window with it.
        let _gone = stream.flow_control().release_capacity(piece.len());
    }
    Poll::Ready(piece)
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if let Some(piece) = this.read.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match std::task::ready!(poll_piece(&mut this.stream, cx)) {
            Some(piece) => Poll::Ready(Some(piece.map(Frame::data))),
            None => {
                this.stream.poll_trailers(cx).map(|trailers| trailers.transpose().map(|map| map.map(Frame::trailers)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.stream.is_end_stream()
    }
}

/// The content of a DATA frame.
#[derive(Debug)]
pub(super) enum Payload {
    /// An answer with its gRPC prefix, as it was written.
    Answer(Cursor<Vec<u8>>),
    /// A piece of a response body.
    Piece(Bytes),
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        match self {
            Self::Answer(answer) => answer.remaining(),
            Self::Piece(piece) => piece.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Answer(answer) => answer.chunk(),
            Self::Piece(piece) => piece.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Answer(answer) => answer.advance(count),
            Self::Piece(piece) => piece.advance(count),
        }
    }
}

/// Sends the response of the future as fast as the peer reads it, until it is complete or the peer has gone away. With a `limit`, a peer that
/// takes longer to read it gets no more of it. Whether it got all of it.
pub(super) async fn respond(
    response: impl Future<Output = Response<Body>>,
    mut respond: SendResponse<Payload>,
    limit: Option<Duration>,
) -> bool {
    let response = tokio::select! {
        response = response => response,
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return false,
    };
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ended) else { return false };
    if ended {
        return true;
    }
    let sent = match limit {
        None => send_body(body, &mut stream).await,
        Some(limit) => tokio::time::timeout(limit, send_body(body, &mut stream)).await.unwrap_or_default(),
    };
    if sent.is_none() {
        stream.send_reset(Reason::CANCEL);
    }
    sent.is_some()
}

/// `None` if the peer has gone away.
async fn send_body(body: Body, stream: &mut SendStream<Payload>) -> Option<()> {
    let mut body = pin!(body);
    loop {
        let frame = tokio::select! {
            frame = poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return None,
        };
        let Some(frame) = frame else { return stream.send_data(Payload::Piece(Bytes::new()), true).ok() };
        match frame.ok()?.into_data() {
            Ok(data) => send_data(data, stream).await?,
            Err(frame) => return stream.send_trailers(frame.into_trailers().ok()?).ok(),
        }
    }
}

/// Sends as much at a time as the window allows.
async fn send_data(mut data: Bytes, stream: &mut SendStream<Payload>) -> Option<()> {
    while data.has_remaining() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let piece = data.split_to(room.min(data.len()));
        stream.send_data(Payload::Piece(piece), false).ok()?;
    }
    Some(())
}
