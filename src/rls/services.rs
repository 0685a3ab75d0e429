//! The services of one worker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::service::Routes;

use super::arriving::arrived;
use super::call::call;
use super::checks::{self, Checks, batch};
use super::compressed::{gathered, names_encoding};
use super::responder::{Prepared, Responder, send_error};
use super::stream::{Payload, Pieces, Whole};
use super::tasks::Tasks;
use super::waits::Waits;
use crate::access::Caller;
use crate::api::rls::sole_message;
use crate::api::rls_service::rate_limit_service_server::{RateLimitServiceServer, SERVICE_NAME};
use crate::grpc::{ACCEPTED_ENCODING, Ready, common_services, end_with};
use crate::limiter::WorkerSlot;
use crate::net::{PartialBytes, Share, Slot};
use crate::service::{Answer, Arrived, Batch, Service};

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

/// A check whose request arrived in one piece, which is one message.
pub(super) struct WholeCheck {
    head: Parts,
    whole: Whole,
    respond: Option<SendResponse<Payload>>,
}

impl WholeCheck {
    /// # Errors
    /// It is compressed, or not one message: the request as any other, and where its answer goes.
    #[expect(clippy::result_large_err, reason = "the error is the rarer way on, and as large as the check")]
    pub(super) fn new(
        head: Parts,
        whole: Whole,
        respond: SendResponse<Payload>,
    ) -> Result<Self, (Request<Pieces>, SendResponse<Payload>)> {
        if sole_message(&whole.piece).is_some() {
            return Ok(Self { head, whole, respond: Some(respond) });
        }
        Err((Request::from_parts(head, Pieces::after(whole.piece, whole.stream)), respond))
    }
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
        self.batch_of(self.caller.as_deref())
    }

    /// The same for checks of this client; `None`: of any.
    pub(super) fn batch_of(&self, caller: Option<&Caller>) -> Batch<'_> {
        batch(&self.service, caller)
    }

    /// The client of the connection; `None`: every client may check every domain.
    pub(super) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// Counts an incomplete check, with so many bytes of its body, until the share is dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: there are too many.
    pub(super) fn incomplete_check(&self, headers: &HeaderMap, body: usize) -> Result<Share, Status> {
        self.partial.check(headers, body)
    }

    /// The service that decides.
    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Decides checks whose requests arrived in one piece each, and sends the answers. Returns the length of the longest one; 0 if there is none
    /// yet, or no message in any.
    pub(super) fn checks(&self, tasks: &Tasks, batch: &Batch<'_>, mut checks: Vec<WholeCheck>) -> usize {
        let asked = checks.iter_mut().map(|WholeCheck { head, whole, respond }| {
            let message = sole_message(&whole.piece).unwrap_or_default();
            (Arrived { call: call(&self.service, &head.headers), message }, respond)
        });
        let (arrived, responds): (SmallVec<[_; 1]>, SmallVec<[_; 1]>) = asked.unzip();
        let (mut responds, mut longest, mut later) = (responds.into_iter(), 0, Vec::new());
        self.decide_all(batch, &arrived, |answer| {
            let Some(mut respond) = responds.next().and_then(Option::take) else { return };
            match answer {
                Ok(Answer::Reply(reply)) if reply.delay.is_zero() => {
                    longest = longest.max(self.prepared.send(&mut respond, reply.frame));
                }
                Err(status) => send_error(&mut respond, &status),
                Ok(answer) => later.push((answer, respond)),
            }
        });
        self.settle_later(tasks, later);
        longest
    }

    /// [`decide_all`] for the client of the connection.
    pub(super) fn decide_all(
        &self,
        batch: &Batch<'_>,
        arrived: &[Arrived<'_>],
        each: impl FnMut(Result<Answer, Status>),
    ) {
        decide_all(batch, self.caller.as_deref(), arrived, each);
    }

    /// Answers checks that arrived together, in their order, when their answers are due.
    pub(super) fn settle_later(&self, tasks: &Tasks, later: Vec<(Answer, impl Responder + Unpin)>) {
        if later.is_empty() {
            return;
        }
        let mut waits = Vec::with_capacity(later.len());
        for (answer, respond) in later {
            match answer {
                Answer::Asked(asked) => waits.push((asked, respond)),
                Answer::Reply(_) => tasks.spawn(checks::settle_to(&self.service, &self.prepared, answer, respond)),
            }
        }
        if let Some(waits) = Waits::new(Arc::clone(&self.service), Arc::clone(&self.prepared), waits) {
            tasks.spawn(waits);
        }
    }

    /// Decides a check when its request has arrived.
    pub(super) fn check_later<B>(&self, tasks: &Tasks, request: Request<B>, mut response: impl Responder)
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = match self.partial.bound_request(request) {
            Ok(request) => request,
            Err(status) => return response.send_error(&status),
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
        tasks.spawn(response.respond(answer, Some(ANSWER_TIMEOUT)));
    }

    /// Answers a request that is no call of gRPC, when it is complete.
    pub(super) fn no_call<B>(&self, tasks: &Tasks, request: Request<B>, mut response: impl Responder)
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        let headers = match self.partial.headers(request.headers()) {
            Ok(headers) => headers,
            Err(status) => return response.send_error(&status),
        };
        let answer = async move {
            let method = request.method().clone();
            let mut body = request.into_body();
            let arrived = timeout(REQUEST_TIMEOUT, async { while let Some(Ok(_)) = body.frame().await {} }).await;
            drop(headers);
            if arrived.is_err() { late().into_http() } else { not_grpc(&method) }
        };
        tasks.spawn(response.respond(answer, Some(ANSWER_TIMEOUT)));
    }

    /// Serves a call of any other service.
    pub(super) fn other<B>(&self, tasks: &Tasks, request: Request<B>, mut response: impl Responder)
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let begun = self.calls.begin(request.uri().path());
        let (call, headers) = match begun.and_then(|call| Ok((call, self.partial.headers(request.headers())?))) {
            Ok(begun) => begun,
            Err(status) => return response.send_error(&status),
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
            let answered = response.respond(answer, None).await;
            drop(call);
            answered
        });
    }
}

/// Decides checks of a client that arrived together, in their order, or has them ask the store first, and passes on the answer to each, or the
/// status of a request that was not decided.
pub(super) fn decide_all(
    batch: &Batch<'_>,
    caller: Option<&Caller>,
    arrived: &[Arrived<'_>],
    mut each: impl FnMut(Result<Answer, Status>),
) {
    batch.answer_all(arrived, |answer| each(answer.map_err(|error| checks::status(&error, caller))));
}

/// The answer to what is no call: the method or the type of the content is wrong.
fn not_grpc(method: &Method) -> Response<Body> {
    let text = if method == Method::HEAD { "" } else { "this port serves gRPC\n" };
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(text.as_bytes()))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if method == Method::POST {
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    } else {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// A request did not arrive in time.
pub(super) fn late() -> Status {
    Status::deadline_exceeded("the request did not arrive in time")
}

/// For a request that does not arrive in one piece, from its headers on.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// For the peer to read the answer to such a check.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that watches the health has one of them on each connection, and takes some KiB.
const MAX_WATCHES: usize = 1_024;

/// Reflection is for people; health checks are answered at once.
const MAX_OTHER_CALLS: usize = 256;

const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The path of checks.
pub(super) const CHECK: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
