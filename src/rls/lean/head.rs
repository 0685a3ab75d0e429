//! The headers of a request, as far as anything is done with them.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::http2::server::Head;
use crate::rls::call::timeout;
use crate::rls::services::CHECK;
use crate::service::{Call, Service};
use crate::telemetry::otlp::TraceContext;
use crate::units::Nanos;

/// The headers of a call: of a check those that are looked at, of any other call all of them.
#[derive(Debug, Default)]
pub(super) struct CallHead {
    is_check: bool,
    method: Vec<u8>,
    path: Vec<u8>,
    /// The first value of `grpc-timeout`, if it can be read.
    timeout: Option<Nanos>,
    has_timeout: bool,
    headers: HeaderMap,
    /// There are more than a map can hold.
    is_full: bool,
}

impl Head for CallHead {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":method" => self.method = value.to_vec(),
            b":path" => {
                let path = value.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
                self.is_check = std::str::from_utf8(path).is_ok_and(|path| path == CHECK);
                self.path = if self.is_check { Vec::new() } else { value.to_vec() };
            }
            b":scheme" | b":authority" => {}
            b"grpc-timeout" if !self.has_timeout => {
                self.has_timeout = true;
                self.timeout = std::str::from_utf8(value).ok().and_then(timeout);
                self.keep(name, value);
            }
            b"grpc-encoding" | b"traceparent" | b"tracestate" => self.keep(name, value),
            // The pseudo-header fields come first.
            _ if self.is_check => {}
            _ => self.keep(name, value),
        }
    }
}

impl CallHead {
    fn keep(&mut self, name: &[u8], value: &[u8]) {
        let header = HeaderName::from_lowercase(name).ok().zip(HeaderValue::from_bytes(value).ok());
        // Both were checked before.
        let Some((name, value)) = header else { return };
        self.is_full |= self.headers.try_append(name, value).is_err();
    }

    /// Whether this is a call of `ShouldRateLimit`.
    pub(super) fn is_check(&self) -> bool {
        self.is_check
    }

    /// The headers that are kept.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether this may be a call of gRPC, by its method and the type of its content.
    pub(super) fn is_grpc(&self) -> bool {
        let content =
            self.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        content && self.method == b"POST"
    }

    /// The call of a check.
    pub(super) fn call(&self, service: &Service) -> Call<'_> {
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let trace = if service.is_traced() {
            TraceContext { traceparent: header("traceparent"), tracestate: header("tracestate") }
        } else {
            TraceContext::default()
        };
        Call { timeout: self.timeout, trace }
    }

    /// The request with this body, for tonic's services; `None` if its method or path is malformed.
    pub(super) fn request<B>(&self, body: B) -> Option<Request<B>> {
        let method = Method::from_bytes(&self.method).ok()?;
        let path = if self.is_check { CHECK.as_bytes() } else { &self.path };
        // CONNECT has none, and is answered as what nobody serves.
        let uri = if path.is_empty() { Uri::from_static("/") } else { Uri::try_from(path).ok()? };
        if self.is_full {
            return None;
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().clone_from(&self.headers);
        Some(request)
    }
}
