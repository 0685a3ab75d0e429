//! Ends long streams when the process stops, so that observers do not delay a shutdown.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::runtime::lifecycle::Phases;

/// Wraps the body of the response: it ends with UNAVAILABLE (so that clients use another replica) when the process stops and
/// the stream has nothing ready to send.
pub(crate) fn end_with(phases: &Phases, response: Response<Body>) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    let mut phases = phases.clone();
    let stopping = Box::pin(async move { phases.stopping().await });
    response.map(|inner| Body::new(Ending { inner, stopping, ended: false }))
}

struct Ending {
    inner: Body,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        this.stopping.as_mut().poll(cx).map(|()| {
            this.ended = true;
            Some(Ok(Frame::trailers(unavailable())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }
}

fn unavailable() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    put_status(&mut trailers, &Status::new(Code::Unavailable, "shutting down"));
    trailers
}

/// Writes the status to headers or trailers; only its code, if the message cannot be encoded.
pub(crate) fn put_status(headers: &mut HeaderMap, status: &Status) {
    if status.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
    }
}
