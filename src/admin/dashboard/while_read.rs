//! A stream that is dropped when its peer does not read, with all that it holds.
//!
//! A body is polled only when the connection can take more. Over HTTP/2 a peer may keep a stream open for ever without reading it,
//! and the connection be fine.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_stream::Stream;

/// A stream that is dropped when it has not been polled for two times [`UNREAD`] in succession. It must be due more often.
pub(super) struct WhileRead<S>(Arc<Mutex<Kept<S>>>);

struct Kept<S> {
    stream: Option<S>,
    was_polled: bool,
}

impl<S: Stream<Item = Bytes> + Unpin + Send + 'static> WhileRead<S> {
    /// Watches the stream in a task, which ends with it.
    pub(super) fn new(stream: S) -> Self {
        let kept = Arc::new(Mutex::new(Kept { stream: Some(stream), was_polled: true }));
        tokio::spawn(drop_unread(Arc::downgrade(&kept)));
        Self(kept)
    }
}

impl<S: Stream<Item = Bytes> + Unpin> Stream for WhileRead<S> {
    type Item = Result<Bytes, &'static str>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut kept = self.0.lock();
        kept.was_polled = true;
        match &mut kept.stream {
            Some(stream) => Pin::new(stream).poll_next(cx).map(|next| next.map(Ok)),
            None => Poll::Ready(Some(Err("read too slowly"))),
        }
    }
}

async fn drop_unread<S>(watched: Weak<Mutex<Kept<S>>>) {
    let mut missed = 0;
    loop {
        tokio::time::sleep(UNREAD).await;
        let Some(kept) = watched.upgrade() else { return };
        let mut kept = kept.lock();
        missed = if std::mem::take(&mut kept.was_polled) { 0 } else { missed + 1 };
        // Once may be this process's own fault: these threads have the lowest priority, and what is due is polled after a pause of them.
        if missed == 2 {
            kept.stream = None;
            return;
        }
    }
}

/// A page reads within milliseconds. That of a machine that was asleep connects again.
const UNREAD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    /// Ready all the time, and holds what it is given.
    struct Ready {
        _held: Arc<()>,
    }

    impl Stream for Ready {
        type Item = Bytes;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
            Poll::Ready(Some(Bytes::new()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_stays_and_what_is_not_is_dropped() {
        let held = Arc::new(());
        let mut read = WhileRead::new(Ready { _held: Arc::clone(&held) });
        for _ in 0..10 {
            tokio::time::sleep(UNREAD / 2).await;
            assert_eq!(read.next().await, Some(Ok(Bytes::new())));
        }
        assert_eq!(Arc::strong_count(&held), 2, "read");
        tokio::time::sleep(3 * UNREAD + Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&held), 1, "not read");
        assert_eq!(read.next().await, Some(Err("read too slowly")));
    }
}
