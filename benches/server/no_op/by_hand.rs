//! A server directly on the h2 crate: every request that has arrived is answered before the connection writes.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tokio::net::TcpStream;

/// Serves a connection: poll, collect, answer.
pub(super) async fn serve(stream: TcpStream) {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(4_096)
        .initial_window_size(super::WINDOW_BYTES)
        .initial_connection_window_size(super::WINDOW_BYTES);
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    let mut calls = Vec::new();
    poll_fn(|cx| poll(&mut connection, &mut calls, cx)).await;
}

fn poll(connection: &mut Connection<TcpStream, Bytes>, calls: &mut Vec<Call>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        // Accepting also writes what is ready, so all requests are accepted first, then all are answered.
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    calls.push(Call { body: request.into_body(), respond, frame: Bytes::new() });
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let open = calls.len();
        calls.retain_mut(|call| call.poll(cx).is_pending());
        if calls.len() == open {
            return Poll::Pending;
        }
    }
}

/// A request without an answer.
struct Call {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// The received part of the request's frame.
    frame: Bytes,
}

impl Call {
    /// Ready when it is answered, or given up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(data))) => {
                    let _reset = self.body.flow_control().release_capacity(data.len());
                    self.frame = if self.frame.is_empty() { data } else { [&self.frame[..], &data].concat().into() };
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(()),
                Poll::Ready(None) => break,
            }
        }
        // A stream that was reset gets no answer.
        let _reset = self.answer();
        Poll::Ready(())
    }

    fn answer(&mut self) -> Result<(), h2::Error> {
        let request = RateLimitRequest::decode(self.frame.slice(PREFIX_BYTES..)).unwrap();
        let answer = super::answer(&request);
        let mut frame = BytesMut::with_capacity(128);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(answer.encoded_len()).unwrap());
        answer.encode(&mut frame).unwrap();
        let mut head = Response::new(());
        head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut body = self.respond.send_response(head, false)?;
        body.send_data(frame.freeze(), false)?;
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        body.send_trailers(trailers)
    }
}

/// The prefix of each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
