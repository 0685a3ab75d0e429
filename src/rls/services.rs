//! The services of one worker.

use std::io::Cursor;
use std::sync::Arc;

use h2::server::SendResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::Status;
use tonic::codegen::Service as _;
use tonic::service::Routes;

use super::call::call;
use super::checks::{self, Checks, batch};
use super::compressed::{gathered, names_encoding};
use super::stream::{Payload, Pieces, Whole, respond};
use crate::access::Caller;
use crate::api::rls::ResponseFrame;
use crate::api::rls_service::rate_limit_service_server::{RateLimitServiceServer, SERVICE_NAME};
use crate::grpc::{ACCEPTED_ENCODING, common_services, end_with, put_status};
use crate::limiter::WorkerSlot;
use crate::net::PartialBytes;
use crate::service::{Batch, Service};

/// The services that a worker offers on each of its connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Services {
    service: Arc<Service>,
    other: Routes,
    partial: PartialBytes,
    prepared: Arc<Prepared>,
    /// The client of the connection; `None`: every client may check every domain.
    caller: Option<Arc<Caller>>,
}

impl Services {
    /// The services of the worker with this slot.
    pub(super) fn new(service: &Service, worker: WorkerSlot) -> Self {
        Self {
            service: Arc::new(Service { worker, ..service.clone() }),
            other: common_services(&service.phases, &[SERVICE_NAME]).prepare(),
            partial: PartialBytes::default(),
            prepared: Arc::default(),
            caller: None,
        }
    }

    /// The services of a connection of this client.
    pub(super) fn of(&self, caller: Caller) -> Self {
        Self { caller: Some(Arc::new(caller)), ..self.clone() }
    }

    /// Whether this is a call of `ShouldRateLimit`.
    pub(super) fn is_check(head: &Parts) -> bool {
        head.uri.path() == CHECK
    }

    /// The instant and the configuration for one batch of checks.
    pub(super) fn batch(&self) -> Batch<'_> {
        batch(&self.service, self.caller.as_deref())
    }

    /// Decides a check whose request arrived in one piece.
    pub(super) fn check(&self, batch: &Batch<'_>, head: Parts, whole: Whole, mut respond: SendResponse<Payload>) {
        let Some(message) = crate::api::rls::sole_message(&whole.piece) else {
            return self.check_later(Request::from_parts(head, Pieces::after(whole.piece, whole.stream)), respond);
        };
        match batch.decide(call(&self.service, &head.headers), message) {
            Ok(reply) if reply.delay.is_zero() => self.prepared.send(&mut respond, reply.frame),
            Err(error) => send_error(&mut respond, &checks::status(&error, self.caller.as_deref())),
            Ok(reply) => {
                let (service, prepared) = (Arc::clone(&self.service), Arc::clone(&self.prepared));
                tokio::spawn(async move {
                    let settled = tokio::select! {
                        settled = checks::settle(&service, reply) => settled,
                        _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return,
                    };
                    match settled {
                        Ok(frame) => prepared.send(&mut respond, frame),
                        Err(status) => send_error(&mut respond, &status),
                    }
                });
            }
        }
    }

    /// Decides a check when its request has arrived.
    pub(super) fn check_later(&self, request: Request<Pieces>, mut response: SendResponse<Payload>) {
        let request = match self.partial.bound_request(request) {
            Ok(request) => request,
            Err(status) => return send_error(&mut response, &status),
        };
        let mut checks = RateLimitServiceServer::new(Checks::new(&self.service, self.caller.as_ref()))
            .accept_compressed(ACCEPTED_ENCODING)
            .max_decoding_message_size(crate::net::MAX_MESSAGE_BYTES);
        let answer = async move {
            let answer = if names_encoding(request.headers()) {
                match gathered(request).await {
                    Ok(request) => checks.call(request),
                    Err(status) => return status.into_http(),
                }
            } else {
                checks.call(request)
            };
            answer.await.unwrap_or_else(|never| match never {})
        };
        tokio::spawn(respond(answer, response));
    }

    /// Serves a call of any other service.
    pub(super) fn other(&self, request: Request<Pieces>, mut response: SendResponse<Payload>) {
        let headers = match self.partial.headers(request.headers()) {
            Ok(share) => share,
            Err(status) => return send_error(&mut response, &status),
        };
        let (mut other, phases) = (self.other.clone(), self.service.phases.clone());
        let answer = async move {
            let answer = other.call(request).await.unwrap_or_else(|never| match never {});
            // The answer, which may be a long stream, does not keep the request's headers.
            drop(headers);
            end_with(&phases, answer)
        };
        tokio::spawn(respond(answer, response));
    }
}

/// The headers and trailers of every answer, created once.
struct Prepared {
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
    /// Passes an answer to the connection. An error means that the caller has gone away.
    fn send(&self, respond: &mut SendResponse<Payload>, frame: ResponseFrame) {
        let mut response = Response::new(());
        response.headers_mut().clone_from(&self.headers);
        let Ok(mut stream) = respond.send_response(response, false) else { return };
        let answer = Payload::Answer(Cursor::new(frame.into_framed()));
        let _gone = stream.send_data(answer, false).and_then(|()| stream.send_trailers(self.trailers.clone()));
    }
}

/// Ends the stream with a status and no message. An error means that the caller has gone away.
fn send_error(respond: &mut SendResponse<Payload>, status: &Status) {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    put_status(headers, status);
    let _gone = respond.send_response(response, true);
}

const CHECK: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
