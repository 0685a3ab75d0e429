//! The services of one worker.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use h2::server::SendResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;
use tonic::codegen::Service as _;
use tonic::service::Routes;

use super::arriving::arrived;
use super::call::call;
use super::checks::{self, Checks, batch};
use super::compressed::{gathered, names_encoding};
use super::stream::{Payload, Pieces, Whole, respond};
use super::tasks::Tasks;
use crate::access::Caller;
use crate::api::rls::ResponseFrame;
use crate::api::rls_service::rate_limit_service_server::{RateLimitServiceServer, SERVICE_NAME};
use crate::grpc::{ACCEPTED_ENCODING, Ready, common_services, end_with, put_status};
use crate::limiter::WorkerSlot;
use crate::net::{PartialBytes, Slot};
use crate::service::{Answer, Batch, Service};

/// The services that a worker offers on each of its connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Services {
    service: Arc<Service>,
    other: Routes,
    partial: PartialBytes,
    calls: OtherCalls,
    prepared: Arc<Prepared>,
    /// The client of the connection; `None`: every client may check every domain.
    caller: Option<Arc<Caller>>,
}

/// Calls of other services than that of checks. They can be long, so there are few of them at the same time.
#[derive(Clone, Debug)]
pub(crate) struct OtherCalls {
    /// Of `grpc.health.v1.Health/Watch`, which clients keep for as long as they are connected.
    watches: Arc<Semaphore>,
    rest: Arc<Semaphore>,
}

impl Default for OtherCalls {
    /// Those of one port.
    fn default() -> Self {
        Self { watches: Arc::new(Semaphore::new(MAX_WATCHES)), rest: Arc::new(Semaphore::new(MAX_OTHER_CALLS)) }
    }
}

impl OtherCalls {
    /// # Errors
    /// RESOURCE_EXHAUSTED: there are too many.
    fn begin(&self, path: &str) -> Result<OwnedSemaphorePermit, Status> {
        let calls = if path == WATCH { &self.watches } else { &self.rest };
        Arc::clone(calls).try_acquire_owned().map_err(|_| Status::resource_exhausted("too many calls besides checks"))
    }
}

impl Services {
    /// The services of the worker with this slot.
    pub(super) fn new(
        service: &Service,
        worker: WorkerSlot,
        partial: PartialBytes,
        calls: OtherCalls,
        ready: &Ready,
    ) -> Self {
        Self {
            service: Arc::new(service.of_worker(worker)),
            other: common_services(&service.phases, ready, &[SERVICE_NAME]).prepare(),
            partial,
            calls,
            prepared: Arc::default(),
            caller: None,
        }
    }

    /// The services of a connection of this client.
    pub(super) fn of(&self, caller: Caller) -> Self {
        Self { caller: Some(Arc::new(caller)), ..self.clone() }
    }

    /// The same for one connection, which may hold only a part of what the worker may hold.
    pub(super) fn of_connection(&self, slot: Arc<Slot>) -> Self {
        Self { partial: self.partial.of_connection(slot), ..self.clone() }
    }

    /// Whether this is a call of `ShouldRateLimit`.
    pub(super) fn is_check(head: &Parts) -> bool {
        head.uri.path() == CHECK
    }

    /// The instant and the configuration for one batch of checks.
    pub(super) fn batch(&self) -> Batch<'_> {
        batch(&self.service, self.caller.as_deref())
    }

    /// Decides a check whose request arrived in one piece. Returns the length of the answer; 0 if there is none yet, or no message in it.
    pub(super) fn check(
        &self,
        tasks: &Tasks,
        batch: &Batch<'_>,
        head: Parts,
        whole: Whole,
        mut respond: SendResponse<Payload>,
    ) -> usize {
        let Some(message) = crate::api::rls::sole_message(&whole.piece) else {
            self.check_later(tasks, Request::from_parts(head, Pieces::after(whole.piece, whole.stream)), respond);
            return 0;
        };
        match batch.answer(call(&self.service, &head.headers), message) {
            Ok(Answer::Reply(reply)) if reply.delay.is_zero() => return self.prepared.send(&mut respond, reply.frame),
            Err(error) => send_error(&mut respond, &checks::status(&error, self.caller.as_deref())),
            Ok(answer) => {
                let (service, prepared) = (Arc::clone(&self.service), Arc::clone(&self.prepared));
                tasks.spawn(async move {
                    let settled = tokio::select! {
                        settled = checks::settle(&service, answer) => settled,
                        _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return false,
                    };
                    match settled {
                        Ok(frame) => prepared.send(&mut respond, frame) > 0,
                        Err(status) => {
                            send_error(&mut respond, &status);
                            false
                        }
                    }
                });
            }
        }
        0
    }

    /// Decides a check when its request has arrived.
    pub(super) fn check_later(&self, tasks: &Tasks, request: Request<Pieces>, mut response: SendResponse<Payload>) {
        let request = match self.partial.bound_request(request) {
            Ok(request) => request,
            Err(status) => return send_error(&mut response, &status),
        };
        let mut checks = RateLimitServiceServer::new(Checks::new(&self.service, self.caller.as_ref()))
            .accept_compressed(ACCEPTED_ENCODING)
            .max_decoding_message_size(crate::net::MAX_MESSAGE_BYTES);
        let answer = async move {
            let answer = if names_encoding(request.headers()) {
                match timeout(REQUEST_TIMEOUT, gathered(request)).await.unwrap_or_else(|_| Err(late())) {
                    Ok(request) => checks.call(request),
                    Err(status) => return status.into_http(),
                }
            } else {
                match timeout(REQUEST_TIMEOUT, arrived(request)).await {
                    Ok(request) => checks.call(request),
                    Err(_) => return late().into_http(),
                }
            };
            answer.await.unwrap_or_else(|never| match never {})
        };
        tasks.spawn(respond(answer, response, Some(ANSWER_TIMEOUT)));
    }

    /// Serves a call of any other service.
    pub(super) fn other(&self, tasks: &Tasks, request: Request<Pieces>, mut response: SendResponse<Payload>) {
        let begun = self.calls.begin(request.uri().path());
        let (call, headers) = match begun.and_then(|call| Ok((call, self.partial.headers(request.headers())?))) {
            Ok(begun) => begun,
            Err(status) => return send_error(&mut response, &status),
        };
        let (mut other, phases) = (self.other.clone(), self.service.phases.clone());
        let answer = async move {
            let answer = match timeout(REQUEST_TIMEOUT, other.call(request)).await {
                Ok(answer) => answer.unwrap_or_else(|never| match never {}),
                Err(_) => late().into_http(),
            };
            // The answer, which may be a long stream, does not keep the request's headers.
            drop(headers);
            end_with(&phases, answer)
        };
        tasks.spawn(async move {
            let answered = respond(answer, response, None).await;
            drop(call);
            answered
        });
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
    /// Passes an answer to the connection, and returns its length; 0 if the caller has gone away.
    fn send(&self, respond: &mut SendResponse<Payload>, frame: ResponseFrame) -> usize {
        let mut response = Response::new(());
        response.headers_mut().clone_from(&self.headers);
        let Ok(mut stream) = respond.send_response(response, false) else { return 0 };
        let framed = frame.into_framed();
        let length = framed.len();
        let answer = Payload::Answer(Cursor::new(framed));
        let sent = stream.send_data(answer, false).and_then(|()| stream.send_trailers(self.trailers.clone()));
        if sent.is_ok() { length } else { 0 }
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

fn late() -> Status {
    Status::deadline_exceeded("the request did not arrive in time")
}

/// For a request that does not arrive in one piece, from its headers on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// For the peer to read the answer to such a check.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that watches the health has one of them on each connection, and takes some KiB.
const MAX_WATCHES: usize = 1_024;

/// Reflection is for people; health checks are answered at once.
const MAX_OTHER_CALLS: usize = 256;

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
