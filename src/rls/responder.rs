//! Where answers go, whichever front end the call came through.

use std::io::Cursor;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tonic::Status;
use tonic::body::Body;

use super::stream::{Payload, respond};
use crate::api::rls::ResponseFrame;
use crate::grpc::put_status;

/// Where the answer to a call goes.
pub(super) trait Responder: Send + Sized + 'static {
    /// Sends the answer of a check, and returns its length; 0 if the caller has gone away.
    fn send(&mut self, prepared: &Prepared, frame: ResponseFrame) -> usize;

    /// Ends the stream with a status and no message.
    fn send_error(&mut self, status: &Status);

    /// Ready when the caller has gone away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends the response of the future as fast as the peer reads it, until it is complete or the peer has gone away. With a `limit`, a peer
    /// that takes longer to read it gets no more of it. Whether it got all of it.
    fn respond(
        self,
        response: impl Future<Output = Response<Body>> + Send + 'static,
        limit: Option<Duration>,
    ) -> impl Future<Output = bool> + Send + 'static;
}

impl Responder for SendResponse<Payload> {
    fn send(&mut self, prepared: &Prepared, frame: ResponseFrame) -> usize {
        prepared.send(self, frame)
    }

    fn send_error(&mut self, status: &Status) {
        send_error(self, status);
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_reset(cx).map(drop)
    }

    fn respond(
        self,
        response: impl Future<Output = Response<Body>> + Send + 'static,
        limit: Option<Duration>,
    ) -> impl Future<Output = bool> + Send + 'static {
        respond(response, self, limit)
    }
}

/// The headers and trailers of every answer, created once.
pub(super) struct Prepared {
    headers: HeaderMap,
    trailers: HeaderMap,
}

impl Default for Prepared {
    fn default() -> Self {
        let headers = [(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))];
        let trailers = [(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
        Self { headers: HeaderMap::from_iter(headers), trailers: HeaderMap::from_iter(trailers) }
    }
}

impl Prepared {
    /// Passes an answer to the connection, and returns its length; 0 if the caller has gone away.
    pub(super) fn send(&self, respond: &mut SendResponse<Payload>, frame: ResponseFrame) -> usize {
        let mut response = Response::new(());
        response.headers_mut().clone_from(&self.headers);
        let Ok(mut stream) = respond.send_response(response, false) else { return 0 };
        let framed = frame.into_framed();
        let length = framed.len();
        let answer = Payload::Answer(Cursor::new(framed));
        let sent = stream.send_data(answer, false).and_then(|()| stream.send_trailers(self.trailers.clone()));
        if sent.is_ok() { length } else { 0 }
    }
}

/// Ends the stream with a status and no message. An error means that the caller has gone away.
pub(super) fn send_error(respond: &mut SendResponse<Payload>, status: &Status) {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    put_status(headers, status);
    let _gone = respond.send_response(response, true);
}
