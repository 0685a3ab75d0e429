//! Calls as no gRPC library makes them.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use tokio::net::TcpStream;

/// What came back, as far as it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status; 0 when the stream was reset before it.
    pub(crate) http: u16,
    /// `grpc-status`, from the headers or the trailers.
    pub(crate) status: Option<u32>,
    /// `grpc-message`, decoded.
    pub(crate) message: String,
    /// `grpc-accept-encoding`.
    pub(crate) accepted: Option<String>,
    /// The frames of the body.
    pub(crate) body: Bytes,
    /// Why the stream was reset, if it was.
    pub(crate) reset: Option<h2::Reason>,
}

/// One call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Bytes,
}

pub(crate) const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

impl Call {
    /// A well-formed call with this body.
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
        Self { method: Method::POST, path: SHOULD_RATE_LIMIT, headers, body: body.into() }
    }

    /// Makes the call on a connection of its own.
    pub(crate) async fn make(self, address: &str) -> Answer {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let running = tokio::spawn(connection);
        let answer = self.on(requests).await;
        running.abort();
        answer
    }

    async fn on(self, requests: h2::client::SendRequest<Bytes>) -> Answer {
        let mut requests = requests.ready().await.unwrap();
        let mut request = Request::builder().method(self.method).uri(format!("http://test{}", self.path));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let (answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        // A server that rejects the call may reset it before it has all of it.
        let _refused = body.send_data(self.body, true);
        receive(answer).await
    }
}

pub(crate) async fn receive(answer: h2::client::ResponseFuture) -> Answer {
    let mut reported = Answer::default();
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(error) => return Answer { reset: error.reason(), ..reported },
    };
    reported.http = answer.status().as_u16();
    reported.read_headers(answer.headers());
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(error) => reported.reset = error.reason(),
        }
    }
    if let Ok(Some(trailers)) = body.trailers().await {
        reported.read_headers(&trailers);
    }
    reported.body = bytes.into();
    reported
}

impl Answer {
    fn read_headers(&mut self, headers: &HeaderMap) {
        if let Some(accepted) = headers.get("grpc-accept-encoding") {
            self.accepted = Some(accepted.to_str().unwrap().to_owned());
        }
        if let Some(status) = tonic::Status::from_header_map(headers) {
            self.status = Some(i32::from(status.code()).unsigned_abs());
            status.message().clone_into(&mut self.message);
        }
    }
}

/// A message in a gRPC frame.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    frame_of(0, message.len(), message)
}

/// A frame that says what it likes about its content.
pub(crate) fn frame_of(compressed: u8, length: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [&[compressed], &length[..], content].concat()
}
