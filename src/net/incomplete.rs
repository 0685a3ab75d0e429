//! A bound on the memory of incomplete requests.
//!
//! Without it a client could open thousands of streams and send on each all but the last byte of 4 MiB, or only 128 KiB of
//! headers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tonic::Status;

use super::slots::Slot;

/// The bytes of all incomplete requests of the process, a worker, a port or a connection.
#[derive(Clone, Debug)]
pub(crate) struct PartialBytes(Arc<Level>);

#[derive(Debug)]
struct Level {
    held: AtomicUsize,
    max: usize,
    /// What this is a part of.
    whole: Option<PartialBytes>,
    /// That of the connection whose requests these are.
    slot: Option<Arc<Slot>>,
    /// The connection that was ended last so that there is room for others.
    leaving: Mutex<Option<Arc<Slot>>>,
}

impl Default for PartialBytes {
    /// Those of the process.
    fn default() -> Self {
        Self::new(MAX_ALL_BYTES, None)
    }
}

impl PartialBytes {
    fn new(max: usize, whole: Option<Self>) -> Self {
        Self::of(None, max, whole)
    }

    fn of(slot: Option<Arc<Slot>>, max: usize, whole: Option<Self>) -> Self {
        Self(Arc::new(Level { held: AtomicUsize::new(0), max, whole, slot, leaving: Mutex::default() }))
    }

    /// Those of one worker or port of this process.
    pub(crate) fn of_port(&self) -> Self {
        Self::new(MAX_PARTIAL_BYTES, Some(self.clone()))
    }

    /// Those of one connection of this worker.
    pub(crate) fn of_connection(&self, slot: Arc<Slot>) -> Self {
        Self::of(Some(slot), MAX_CONNECTION_BYTES, Some(self.clone()))
    }

    /// Adds them to every whole that they are a part of; whether all are within their bounds. When three quarters of a whole are held, the
    /// connection that holds the most ends, so that there is room for the requests of others. It takes a moment until there is: the last
    /// eighth is for connections that are not on probation.
    fn add(&self, bytes: usize) -> bool {
        let Self(own) = self;
        if let Some(slot) = &own.slot {
            slot.add_incomplete(bytes);
        }
        let is_new = own.slot.as_ref().is_some_and(|slot| slot.is_on_probation());
        let mut is_within = true;
        let mut level = Some(self);
        while let Some(Self(each)) = level {
            let held = each.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            is_within &= held <= if is_new && each.slot.is_none() { each.max / 8 * 7 } else { each.max };
            if let Some(slot) = own.slot.as_ref().filter(|_| each.slot.is_none() && held > each.max / 4 * 3) {
                each.make_room(slot);
            }
            level = each.whole.as_ref();
        }
        is_within
    }

    fn subtract(&self, bytes: usize) {
        if let Some(slot) = &self.0.slot {
            slot.subtract_incomplete(bytes);
        }
        let mut level = Some(self);
        while let Some(Self(each)) = level {
            each.held.fetch_sub(bytes, Ordering::Relaxed);
            level = each.whole.as_ref();
        }
    }

    /// Wraps a body, which fails when the incomplete requests exceed the bound. A body that arrives in one piece is not counted.
    pub(crate) fn bound<B>(&self, inner: B) -> Bounded<B> {
        Bounded { inner, share: Share { all: self.clone(), held: 0 } }
    }

    /// Wraps the body of a request, and counts its headers as the first piece.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the incomplete requests exceed the bound.
    pub(crate) fn bound_request<B>(&self, request: Request<B>) -> Result<Request<Bounded<B>>, Status> {
        let share = self.headers(request.headers())?;
        Ok(request.map(|inner| Bounded { inner, share }))
    }

    /// Counts the headers of a request, and what else it takes, until the share is dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the incomplete requests exceed the bound.
    pub(crate) fn headers(&self, headers: &HeaderMap) -> Result<Share, Status> {
        self.share(headers, REQUEST_BYTES)
    }

    /// Counts the headers of a check that waits in its stream, with so many bytes of its body, and what else it takes, until the share is
    /// dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the incomplete requests exceed the bound.
    pub(crate) fn check(&self, headers: &HeaderMap, body: usize) -> Result<Share, Status> {
        self.share(headers, body.saturating_add(CHECK_BYTES))
    }

    fn share(&self, headers: &HeaderMap, more: usize) -> Result<Share, Status> {
        let mut share = Share { all: self.clone(), held: 0 };
        let headers: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        share.hold(headers.saturating_add(more))?;
        Ok(share)
    }
}

impl Level {
    /// Ends a connection of the port of `slot`, unless the one before has not gone yet.
    fn make_room(&self, slot: &Slot) {
        let mut leaving = self.leaving.lock();
        if leaving.as_ref().is_none_or(|slot| slot.incomplete_bytes() == 0) {
            *leaving = slot.end_incomplete();
        }
    }
}

/// The bytes of one request, released when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    all: PartialBytes,
    held: usize,
}

impl Share {
    /// Counts so many more.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the incomplete requests exceed the bound.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        self.held = self.held.saturating_add(bytes);
        if !self.all.add(bytes) {
            return Err(Status::resource_exhausted("too many incomplete requests; send each in one piece"));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.held > 0 {
            self.all.subtract(self.held);
        }
    }
}

/// A request body whose pieces are counted until it is complete.
#[derive(Debug)]
pub(crate) struct Bounded<B> {
    inner: B,
    share: Share,
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else { return Poll::Pending };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(Into::into);
        if let Some(piece) = frame.as_ref().ok().and_then(Frame::data_ref)
            && !this.inner.is_end_stream()
            && let Err(status) = this.share.hold(piece.len())
        {
            return Poll::Ready(Some(Err(status.into())));
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Per worker: sixteen of the largest requests. Envoy sends each check in one piece.
const MAX_PARTIAL_BYTES: usize = 16 * MAX_MESSAGE_BYTES;

/// Of all workers and ports: as much as four of them.
const MAX_ALL_BYTES: usize = 4 * MAX_PARTIAL_BYTES;

/// Of one connection: half of its worker's, enough for headers on each of its streams.
const MAX_CONNECTION_BYTES: usize = MAX_PARTIAL_BYTES / 2;

/// What a request takes until it is complete, besides its content: a stream, a map of headers, a task and a timer.
const REQUEST_BYTES: usize = 6 << 10;

/// What a check takes until it is complete, besides its content, where it is only a stream, its headers and a buffer.
const CHECK_BYTES: usize = 1 << 10;

/// The largest request: gRPC's usual bound; a hundred descriptors of Envoy take about 10 KiB.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;
    use crate::net::{ConnectionLimit, Turn};

    /// A body in pieces, whose last piece is not known before it is read.
    struct Pieces(VecDeque<usize>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|length| Ok(Frame::data(vec![0; length].into()))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    #[tokio::test]
    async fn incomplete_requests_hold_no_more_than_the_bound_together() {
        let all = PartialBytes::new(10, None);
        let body = |pieces: &[usize]| all.bound(Pieces(pieces.iter().copied().collect()));
        let mut first = body(&[8, 1]);
        assert!(first.frame().await.unwrap().is_ok());
        assert!(body(&[100]).frame().await.unwrap().is_ok(), "one piece is complete");
        assert!(body(&[3, 1]).frame().await.unwrap().is_err(), "3 more are over 10");
        assert!(body(&[2, 1]).frame().await.unwrap().is_ok());
        drop(first);
        assert!(body(&[10, 1]).frame().await.unwrap().is_ok(), "what has ended holds nothing");
        assert_eq!(all.0.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_a_connection_holds_is_held_by_its_worker_and_the_process() {
        let process = PartialBytes::new(3 * REQUEST_BYTES, None);
        let worker = PartialBytes::new(2 * REQUEST_BYTES, Some(process.clone()));
        let in_use = Slot::alone();
        in_use.earn();
        let (one, other) = (PartialBytes::new(REQUEST_BYTES, Some(worker.clone())), worker.of_connection(in_use));
        let headers = HeaderMap::new();
        let first = one.headers(&headers).unwrap();
        assert!(one.headers(&headers).is_err(), "the connection has one");
        let second = other.headers(&headers).unwrap();
        assert!(worker.headers(&headers).is_err(), "the worker has two");
        let third = process.headers(&headers).unwrap();
        assert!(process.headers(&headers).is_err(), "the process has three");
        drop((first, second, third));
        assert!([&process, &worker, &one].iter().all(|level| level.0.held.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn who_holds_the_most_goes_for_the_requests_of_others() {
        let worker = PartialBytes::new(1_000, None);
        let port = ConnectionLimit::new("test", 10, 0);
        let permits: Vec<_> = (0..4).map(|_| port.take(None).unwrap()).collect();
        let parts: Vec<_> = permits.iter().map(|permit| worker.of_connection(Arc::clone(permit.slot()))).collect();
        let ends = |n: usize| permits[n].slot().begin_turn(std::task::Waker::noop()) == Turn::GiveUp;
        // The first one is in use, and holds the most for a moment.
        permits[0].slot().earn();
        assert!(parts[0].add(400) && parts[1].add(100) && parts[2].add(200));
        assert!((0..4).all(|n| !ends(n)), "there is room");
        assert!(parts[3].add(100));
        assert_eq!([0, 1, 2, 3].map(ends), [false, false, true, false]);
        assert!(parts[3].add(50));
        assert!(!ends(1) && !ends(3), "the one before has not gone yet");
        parts[2].subtract(200);
        assert!(parts[3].add(110));
        assert_eq!([0, 1, 2, 3].map(ends), [false, false, true, true]);
        let closed = port.closed().find(|(_, reason, _)| *reason == "incomplete").unwrap();
        assert_eq!(closed.2, 2);
        // 760 are held.
        assert!(!parts[1].add(150) && parts[0].add(50), "the last eighth is for those in use");
    }

    #[tokio::test]
    async fn headers_count_as_the_first_piece() {
        let all = PartialBytes::new(REQUEST_BYTES + 10, None);
        let request = |value: &str, pieces: &[usize]| {
            let body = Pieces(pieces.iter().copied().collect());
            Request::builder().header("k", value).body(body).unwrap()
        };
        let mut first = all.bound_request(request("12345", &[1, 1])).unwrap();
        assert!(first.body_mut().frame().await.unwrap().is_ok(), "6 of headers and 1");
        let rejected = all.bound_request(request("", &[1])).map(drop).unwrap_err();
        assert_eq!(rejected.code(), tonic::Code::ResourceExhausted, "another request is over the bound");
        drop(first);
        assert!(all.headers(request("123456789", &[]).headers()).is_ok(), "what has ended holds nothing");
        assert_eq!(all.0.held.load(Ordering::Relaxed), 0);
    }
}
