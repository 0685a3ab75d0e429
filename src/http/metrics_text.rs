//! `/metrics`: few texts at the same time, however many read them, and however slowly.
//!
//! With 50,000 rules a text has 36 MB. A hundred connections that ask for it and do not read would each hold one.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Mutex;

use crate::runtime::clock::Stopwatch;

/// Writes the metrics in the Prometheus text format: all, or only the series of some domains, which are sorted.
pub(crate) type RenderMetrics = Box<dyn Fn(Option<&[String]>) -> String + Send + Sync>;

/// The texts that are being read.
pub(crate) struct MetricsText {
    render: RenderMetrics,
    /// The newest is the last one.
    texts: Mutex<Vec<Arc<Text>>>,
}

#[derive(Debug)]
struct Text {
    bytes: Bytes,
    /// `None`: of all domains.
    domains: Option<Vec<String>>,
    since: Stopwatch,
}

impl MetricsText {
    /// Texts of this function, for all ports.
    pub(crate) fn new(render: RenderMetrics) -> Self {
        Self { render, texts: Mutex::default() }
    }

    /// The metrics as they are now: of all domains, or of these, which are sorted. While [`MAX_TEXTS`] are being read, the newest of them.
    pub(crate) async fn page(self: &Arc<Self>, domains: Option<&[String]>) -> Response {
        let mut texts = self.texts.lock().await;
        forget_unread(&mut texts);
        let same = |text: &&Arc<Text>| text.domains.as_deref() == domains;
        let newest = texts.iter().rev().find(same).filter(|_| texts.len() >= MAX_TEXTS).map(Arc::clone);
        let text = newest.unwrap_or_else(|| {
            // One more for a caller with domains of its own goes instead of the oldest, whose readers get no more of it.
            if texts.len() >= MAX_TEXTS {
                texts.remove(0);
            }
            let bytes = (self.render)(domains).into();
            let text = Arc::new(Text { bytes, domains: domains.map(<[String]>::to_vec), since: Stopwatch::start() });
            texts.push(Arc::clone(&text));
            text
        });
        let (left, all) = (text.bytes.len(), Arc::clone(self));
        let reading = Reading { text: Arc::downgrade(&text), left, all };
        ([(CONTENT_TYPE, METRICS_TYPE)], Body::new(reading)).into_response()
    }
}

/// Drops texts that nobody reads, or not fast enough.
fn forget_unread(texts: &mut Vec<Arc<Text>>) {
    texts.retain(|text| Arc::weak_count(text) > 0 && text.since.elapsed().as_secs_ceil() <= MAX_READ_S);
}

/// The body of one answer. It does not own the text, so that a peer that does not read cannot keep it.
struct Reading {
    text: Weak<Text>,
    left: usize,
    all: Arc<MetricsText>,
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let Some(text) = this.text.upgrade() else { return Poll::Ready(Some(Err("read too slowly"))) };
        let at = text.bytes.len().saturating_sub(this.left);
        let piece = text.bytes.get(at..).unwrap_or_default();
        let piece = piece.get(..PIECE_BYTES).unwrap_or(piece);
        this.left = this.left.saturating_sub(piece.len());
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.text = Weak::new();
        // If another task has the lock, the text is dropped with the next one.
        if let Ok(mut texts) = self.all.texts.try_lock() {
            forget_unread(&mut texts);
        }
    }
}

/// The type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Texts that exist at the same time: two scrapers and a person each get one of their own.
const MAX_TEXTS: usize = 4;

/// The time to read a text, in seconds; Prometheus gives up after ten.
const MAX_READ_S: u64 = 60;

/// What is copied for a reader at a time.
const PIECE_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn few_texts_exist_and_each_reader_gets_a_whole_one() {
        let count = AtomicUsize::new(0);
        let render = move |domains: Option<&[String]>| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            format!("{number} {domains:?}").repeat(PIECE_BYTES)
        };
        let metrics = Arc::new(MetricsText::new(Box::new(render)));
        let read = async |page: Response| {
            let text = page.into_body().collect().await.unwrap().to_bytes();
            text.get(..2).unwrap().to_vec()
        };
        // One after the other, each is new.
        for number in ["0 ", "1 ", "2 "] {
            assert_eq!(read(metrics.page(None).await).await, number.as_bytes());
        }
        assert!(metrics.texts.lock().await.is_empty(), "nothing is kept");
        let mut unread = Vec::new();
        for _ in 0..100 {
            unread.push(metrics.page(None).await);
        }
        assert_eq!(metrics.texts.lock().await.len(), MAX_TEXTS);
        assert_eq!(read(metrics.page(None).await).await, b"6 ", "the newest");
        let scoped = ["api".to_owned()];
        assert_eq!(read(metrics.page(Some(&scoped)).await).await, b"7 ", "never that of another caller");
        let oldest = unread.remove(0).into_body().collect().await;
        assert!(oldest.is_err(), "it had to make room");
        assert_eq!(read(unread.pop().unwrap()).await, b"6 ");
        drop(unread);
        assert!(metrics.texts.lock().await.is_empty());
    }
}
