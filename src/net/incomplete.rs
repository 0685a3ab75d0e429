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
use tonic::Status;

/// The bytes of all incomplete requests of one worker or port.
#[derive(Clone, Debug)]
pub(crate) struct PartialBytes {
    held: Arc<AtomicUsize>,
    max: usize,
}

impl Default for PartialBytes {
    fn default() -> Self {
        Self { held: Arc::default(), max: MAX_PARTIAL_BYTES }
    }
}

impl PartialBytes {
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

    /// Counts the headers of a request until the share is dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: the incomplete requests exceed the bound.
    pub(crate) fn headers(&self, headers: &HeaderMap) -> Result<Share, Status> {
        let mut share = Share { all: self.clone(), held: 0 };
        share.hold(headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum())?;
        Ok(share)
    }
}

/// The bytes of one request, released when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    all: PartialBytes,
    held: usize,
}

impl Share {
    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        self.held = self.held.saturating_add(bytes);
        let before = self.all.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.all.max {
            return Err(Status::resource_exhausted("too many incomplete requests; send each in one piece"));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.held > 0 {
            self.all.held.fetch_sub(self.held, Ordering::Relaxed);
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

/// The largest request: gRPC's usual bound; a hundred descriptors of Envoy take about 10 KiB.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

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
        let all = PartialBytes { max: 10, ..PartialBytes::default() };
        let body = |pieces: &[usize]| all.bound(Pieces(pieces.iter().copied().collect()));
        let mut first = body(&[8, 1]);
        assert!(first.frame().await.unwrap().is_ok());
        assert!(body(&[100]).frame().await.unwrap().is_ok(), "one piece is complete");
        assert!(body(&[3, 1]).frame().await.unwrap().is_err(), "3 more are over 10");
        assert!(body(&[2, 1]).frame().await.unwrap().is_ok());
        drop(first);
        assert!(body(&[10, 1]).frame().await.unwrap().is_ok(), "what has ended holds nothing");
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn headers_count_as_the_first_piece() {
        let all = PartialBytes { max: 10, ..PartialBytes::default() };
        let request = |value: &str, pieces: &[usize]| {
            let body = Pieces(pieces.iter().copied().collect());
            Request::builder().header("k", value).body(body).unwrap()
        };
        let mut first = all.bound_request(request("12345", &[1, 1])).unwrap();
        assert!(first.body_mut().frame().await.unwrap().is_ok(), "6 of headers and 1");
        let rejected = all.bound_request(request("123", &[1])).map(drop).unwrap_err();
        assert_eq!(rejected.code(), tonic::Code::ResourceExhausted, "4 more are over 10");
        assert!(all.headers(request("12", &[]).headers()).is_ok());
        drop(first);
        assert!(all.headers(request("123456789", &[]).headers()).is_ok(), "what has ended holds nothing");
        assert_eq!(all.held.load(Ordering::Relaxed), 0);
    }
}
