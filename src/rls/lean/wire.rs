//! A connection that its tasks share with what drives it, and its streams as tonic's services see them: request bodies and where answers go.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use parking_lot::{Mutex, MutexGuard};
use tonic::Status;
use tonic::body::Body;

use super::head::CallHead;
use crate::api::rls::ResponseFrame;
use crate::grpc::put_status;
use crate::http2::frame::CANCEL;
use crate::http2::server::{Connection, Field, Limits};
use crate::net::Share;
use crate::rls::keepalive::Pings;
use crate::rls::responder::{Prepared, Responder};
use crate::service;

/// The connection. It is locked for moments only, all of them on the worker's thread.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Mutex<Shared>>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connection: Connection<CallHead, Exchange>,
    /// What drives the connection.
    driver: Option<Waker>,
    /// Whether any stream waits for room: most only wait for their end.
    has_waiting: bool,
    /// Checks that wait to be decided with those of other connections.
    pub(super) undecided: usize,
    /// What came of such checks, until the connection's next turn.
    pub(super) settled: Settled,
}

/// What came of checks that were decided with those of other connections.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// There were answers that could be sent.
    pub(super) answered: bool,
    /// Answers that are not due yet: at most one for each stream.
    pub(super) later: Vec<(u32, service::Answer)>,
}

/// What is known of one open stream.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The headers, until the request is answered or handed on.
    pub(super) head: Option<Arc<CallHead>>,
    /// What has arrived of the body and was not read: one buffer, because a client may send byte by byte.
    pub(super) body: BytesMut,
    /// Whether the request is complete.
    pub(super) is_whole: bool,
    /// What a check takes while it waits here for the rest of its request.
    pub(super) incomplete: Option<Share>,
    /// Nobody reads the body any more.
    is_unread: bool,
    /// Who waits for the body.
    reader: Option<Waker>,
    /// Who waits for room to send, or the end of the stream.
    writer: Option<Waker>,
    /// Whether it waits for room.
    wants_room: bool,
}

impl Wire {
    pub(super) fn new(limits: Limits) -> Self {
        let connection = Connection::new(limits);
        let settled = Settled::default();
        Self(Arc::new(Mutex::new(Shared { connection, driver: None, has_waiting: false, undecided: 0, settled })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock()
    }

    /// Where the answer to the request of this stream goes.
    pub(super) fn answer(&self, id: u32) -> Answer {
        Answer { wire: self.clone(), id }
    }

    /// The body of the request of this stream.
    pub(super) fn body(&self, id: u32) -> Incoming {
        Incoming { wire: self.clone(), id }
    }
}

impl Shared {
    /// Notes who drives the connection.
    pub(super) fn driven_by(&mut self, cx: &Context<'_>) {
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
    }

    /// Adds a part of the body of a request.
    pub(super) fn arrived(&mut self, id: u32, payload: &[u8], is_last: bool) {
        let Some(exchange) = self.connection.state(id) else { return };
        exchange.is_whole |= is_last;
        let is_unread = exchange.is_unread;
        if !is_unread {
            exchange.body.extend_from_slice(payload);
        }
        exchange.reader.take().into_iter().for_each(Waker::wake);
        if is_unread {
            self.connection.release(id, payload.len());
        }
    }

    /// Answers a check that was decided with those of other connections, in the connection's next turn.
    pub(super) fn settle(&mut self, id: u32, answer: Result<service::Answer, Status>) {
        self.undecided = self.undecided.saturating_sub(1);
        match self.answer(id, answer) {
            Ok(answered) => self.settled.answered |= answered,
            Err(answer) => self.settled.later.push((id, answer)),
        }
        if let Some(driver) = &self.driver
            && self.undecided == 0
        {
            driver.wake_by_ref();
        }
    }

    /// Answers a check. Returns whether there was an answer that could be sent.
    ///
    /// # Errors
    /// The answer is not due yet.
    pub(super) fn answer(&mut self, id: u32, answer: Result<service::Answer, Status>) -> Result<bool, service::Answer> {
        match answer {
            Ok(service::Answer::Reply(reply)) if reply.delay.is_zero() => {
                Ok(self.connection.answer(id, reply.frame.framed()))
            }
            Ok(answer) => Err(answer),
            Err(status) => {
                send_status(self, id, &status);
                Ok(false)
            }
        }
    }

    /// Whether this is a check that waits for the rest of its request.
    pub(super) fn is_incomplete(&mut self, id: u32) -> bool {
        self.connection.state(id).is_some_and(|exchange| exchange.incomplete.is_some())
    }

    /// Lets those go on who wait for windows or for room.
    pub(super) fn wake_writers(&mut self) {
        if std::mem::take(&mut self.has_waiting) {
            let waiting = self.connection.states().filter_map(|exchange| {
                if std::mem::take(&mut exchange.wants_room) { exchange.writer.take() } else { None }
            });
            waiting.for_each(Waker::wake);
        }
    }

    fn wait_as_writer(&mut self, id: u32, cx: &Context<'_>, wants_room: bool) -> Poll<()> {
        let Some(exchange) = self.connection.state(id) else { return Poll::Ready(()) };
        exchange.writer = Some(cx.waker().clone());
        exchange.wants_room |= wants_room;
        self.has_waiting |= wants_room;
        Poll::Pending
    }

    /// What was written outside of the driver's turn has to be sent.
    fn wake_driver(&self) {
        if !self.connection.pending().is_empty()
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }
}

impl Exchange {
    /// The stream is gone.
    pub(super) fn end(self) {
        self.reader.into_iter().chain(self.writer).for_each(Waker::wake);
    }
}

impl Pings for Wire {
    fn ask(&mut self) -> bool {
        self.lock().connection.ping();
        true
    }

    fn has_answered(&mut self, _: &mut Context<'_>) -> bool {
        self.lock().connection.take_pong()
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Incoming {
    wire: Wire,
    id: u32,
}

/// The stream was reset before the request was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has ended before the request")]
pub(super) struct Reset;

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        let mut shared = self.wire.lock();
        let Some(exchange) = shared.connection.state(self.id) else { return Poll::Ready(Some(Err(Reset))) };
        if exchange.body.is_empty() {
            if exchange.is_whole {
                return Poll::Ready(None);
            }
            exchange.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let piece = std::mem::take(&mut exchange.body).freeze();
        shared.connection.release(self.id, piece.len());
        shared.wake_driver();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let mut shared = self.wire.lock();
        shared.connection.state(self.id).is_some_and(|exchange| exchange.is_whole && exchange.body.is_empty())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut shared = self.wire.lock();
        let Some(exchange) = shared.connection.state(self.id) else { return };
        exchange.is_unread = true;
        let body = std::mem::take(&mut exchange.body);
        shared.connection.release(self.id, body.len());
        shared.wake_driver();
    }
}

/// Where an answer goes. A stream whose answer is not complete when this is dropped is reset.
#[derive(Debug)]
pub(super) struct Answer {
    wire: Wire,
    id: u32,
}

impl Responder for Answer {
    fn send(&mut self, _: &Prepared, frame: ResponseFrame) -> usize {
        let framed = frame.framed();
        if self.wire.lock().connection.answer(self.id, framed) { framed.len() } else { 0 }
    }

    fn send_error(&mut self, status: &Status) {
        send_status(&mut self.wire.lock(), self.id, status);
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.lock().wait_as_writer(self.id, cx, false)
    }

    async fn respond(
        mut self,
        response: impl Future<Output = Response<Body>> + Send + 'static,
        limit: Option<Duration>,
    ) -> bool {
        let response = tokio::select! {
            response = response => response,
            () = poll_fn(|cx| self.poll_gone(cx)) => return false,
        };
        let (head, body) = response.into_parts();
        let is_last = body.is_end_stream();
        if !send_headers(&mut self.wire.lock(), self.id, Some(head.status), &head.headers, is_last) {
            return false;
        }
        if is_last {
            return true;
        }
        match limit {
            None => self.send_body(body).await,
            Some(limit) => tokio::time::timeout(limit, self.send_body(body)).await.unwrap_or_default(),
        }
        .is_some()
    }
}

impl Answer {
    /// `None` if the peer has gone away.
    async fn send_body(&mut self, body: Body) -> Option<()> {
        let mut body = pin!(body);
        loop {
            let frame = tokio::select! {
                frame = poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
                () = poll_fn(|cx| self.poll_gone(cx)) => return None,
            };
            let Some(frame) = frame else {
                self.wire.lock().connection.finish(self.id);
                return Some(());
            };
            match frame.ok()?.into_data() {
                Ok(mut data) => {
                    while !data.is_empty() {
                        let sent = poll_fn(|cx| self.poll_send(&data, cx)).await?;
                        let _sent = data.split_to(sent);
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok()?;
                    return send_headers(&mut self.wire.lock(), self.id, None, &trailers, true).then_some(());
                }
            }
        }
    }

    /// Sends as much as the window and the bytes that wait to be sent allow; `None`: the peer has gone away.
    fn poll_send(&mut self, data: &Bytes, cx: &Context<'_>) -> Poll<Option<usize>> {
        let mut shared = self.wire.lock();
        let part = data.get(..data.len().min(MAX_PIECE_BYTES)).unwrap_or_default();
        let sent = if shared.connection.is_clogged() { 0 } else { shared.connection.send_data(self.id, part) };
        if sent > 0 {
            return Poll::Ready(Some(sent));
        }
        shared.wait_as_writer(self.id, cx, true).map(|()| None)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.wire.lock().connection.abandon(self.id, CANCEL);
    }
}

/// Ends the stream with a status and no message.
fn send_status(shared: &mut Shared, id: u32, status: &Status) {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
    put_status(&mut headers, status);
    send_headers(shared, id, Some(http::StatusCode::OK), &headers, true);
}

/// With a `status` the headers of an answer, without one its trailers.
fn send_headers(
    shared: &mut Shared,
    id: u32,
    status: Option<http::StatusCode>,
    headers: &HeaderMap,
    is_last: bool,
) -> bool {
    let status = status.as_ref().map(|status| (&b":status"[..], status.as_str().as_bytes()));
    let fields = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let fields: Vec<Field<'_>> = status.into_iter().chain(fields).collect();
    shared.connection.send_headers(id, &fields, is_last)
}

/// What one stream puts at once among the bytes to send, so that others have their turn.
const MAX_PIECE_BYTES: usize = 64 << 10;
