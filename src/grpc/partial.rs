//! A bound on requests that have begun to arrive and are not complete.
//!
//! Without it a client could open thousands of streams and leave all but the last byte of 4 MiB on each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// What the incomplete requests of one worker, or of one port, hold together.
#[derive(Clone, Debug)]
pub struct PartialBytes {
    held: Arc<AtomicUsize>,
    max: usize,
}

impl Default for PartialBytes {
    fn default() -> Self {
        Self { held: Arc::default(), max: MAX_PARTIAL_BYTES }
    }
}

impl PartialBytes {
    /// The body, which fails once the incomplete requests hold too much; one that arrives in one piece is not counted.
    pub fn bound<B>(&self, inner: B) -> Bounded<B> {
        Bounded { inner, all: self.clone(), held: 0 }
    }
}

/// A request body whose pieces are counted until it is complete.
#[derive(Debug)]
pub struct Bounded<B> {
    inner: B,
    all: PartialBytes,
    held: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Bounded<B> {
    fn hold(&mut self, bytes: usize) -> Result<(), Status> {
        self.held = self.held.saturating_add(bytes);
        let before = self.all.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.all.max {
            return Err(Status::resource_exhausted("too many incomplete requests; send each in one piece"));
        }
        Ok(())
    }
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
            && let Err(status) = this.hold(piece.len())
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

impl<B> Drop for Bounded<B> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.all.held.fetch_sub(self.held, Ordering::Relaxed);
        }
    }
}

/// Of each worker: sixteen of the largest requests at once. Envoy sends each check in one piece.
const MAX_PARTIAL_BYTES: usize = 16 * super::MAX_MESSAGE_BYTES;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    /// A body in pieces, of which nothing tells the last one before it is read.
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
}
