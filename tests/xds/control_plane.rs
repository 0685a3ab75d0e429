//! A control plane: a gRPC server that answers as those made with go-control-plane do, and misbehaves when it is asked to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tidegate::api::proto::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use tidegate::api::proto::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::server::eventually;
use crate::sets::{Set, TYPE_URL};

/// A control plane on a port of its own. Dropping it closes its connections.
pub(crate) struct ControlPlane {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// How it behaves.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
pub(crate) struct Behaviour {
    /// It sends nothing.
    pub(crate) silent: bool,
    /// A set whose version a new stream names is not sent, even if it is another one.
    pub(crate) trusts_versions: bool,
    /// A rejected set is sent again at once.
    pub(crate) resends: bool,
    /// The set is sent again and again without waiting for an answer, that many times.
    pub(crate) floods: usize,
    /// Each stream ends after the first set.
    pub(crate) ends_streams: bool,
}

/// What a client did.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A stream began, with these headers.
    Stream(tonic::metadata::MetadataMap),
    /// It sent a request.
    Request(Box<DiscoveryRequest>),
    /// A stream ended.
    Closed,
}

struct Shared {
    events: Mutex<Vec<Event>>,
    sets: watch::Sender<(u64, Set)>,
    behaviour: watch::Sender<Behaviour>,
    /// Counts how often all streams were ended.
    ends: watch::Sender<u64>,
    responses: Mutex<u64>,
}

impl ControlPlane {
    /// A control plane that has this set.
    pub(crate) fn start(set: Set) -> Self {
        Self::behaving(set, Behaviour::default())
    }

    /// The same at this address.
    pub(crate) fn at(addr: &str, set: Set) -> Self {
        Self::listening(addr, set, Behaviour::default())
    }

    pub(crate) fn behaving(set: Set, behaviour: Behaviour) -> Self {
        Self::listening("127.0.0.1:0", set, behaviour)
    }

    fn listening(addr: &str, set: Set, behaviour: Behaviour) -> Self {
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            sets: watch::Sender::new((1, set)),
            behaviour: watch::Sender::new(behaviour),
            ends: watch::Sender::new(0),
            responses: Mutex::default(),
        });
        let mut plane = Self { addr: addr.parse().unwrap(), shared, runtime: None };
        plane.come_back();
        plane
    }

    /// Listens again, at the same address, after it [went away](Self::go_away).
    pub(crate) fn come_back(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(self.addr)).unwrap();
        self.addr = listener.local_addr().unwrap();
        let service = AggregatedDiscoveryServiceServer::from_arc(Arc::new(Service(Arc::clone(&self.shared))));
        let service = service.max_encoding_message_size(usize::MAX);
        let server = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        self.runtime = Some(runtime);
    }

    /// Closes all connections, and does not listen any more.
    pub(crate) fn go_away(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let gone = || std::net::TcpStream::connect(self.addr).is_err();
        eventually("the control plane is away", gone);
    }

    /// As if it were another process: it knows this set, and nothing of what was before.
    pub(crate) fn restart(&mut self, set: Set) {
        self.go_away();
        self.shared.sets.send_modify(|(number, current)| (*number, *current) = (*number + 1, set));
        self.come_back();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Has another set from now on, which clients are sent. Returns the number of events before.
    pub(crate) fn push(&self, set: Set) -> usize {
        let before = self.events().len();
        self.shared.sets.send_modify(|(number, current)| (*number, *current) = (*number + 1, set));
        before
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(behaviour);
        // Streams look again.
        self.shared.sets.send_modify(|_| {});
    }

    /// Ends all streams with UNAVAILABLE.
    pub(crate) fn end_streams(&self) {
        self.shared.ends.send_modify(|ends| *ends += 1);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.events.lock().unwrap().clone()
    }

    /// How many responses were sent.
    pub(crate) fn responses(&self) -> u64 {
        *self.shared.responses.lock().unwrap()
    }

    /// Every request since that many events.
    pub(crate) fn requests_since(&self, before: usize) -> Vec<DiscoveryRequest> {
        let request = |event: &Event| match event {
            Event::Request(request) => Some(DiscoveryRequest::clone(request)),
            _ => None,
        };
        self.events()[before..].iter().filter_map(request).collect()
    }

    /// The first request since that many events that is so, once it has come.
    #[track_caller]
    pub(crate) fn request(
        &self,
        what: &str,
        before: usize,
        is_so: impl Fn(&DiscoveryRequest) -> bool,
    ) -> DiscoveryRequest {
        let mut found = None;
        eventually(what, || {
            found = self.requests_since(before).into_iter().find(|request| is_so(request));
            found.is_some()
        });
        found.unwrap()
    }

    /// The ACK of the version, once it has come.
    #[track_caller]
    pub(crate) fn acked(&self, before: usize, version: &str) -> DiscoveryRequest {
        self.request(&format!("an ACK of {version:?}"), before, |request| {
            request.version_info == version && !request.response_nonce.is_empty() && request.error_detail.is_none()
        })
    }

    /// The first NACK, once it has come, with its message.
    #[track_caller]
    pub(crate) fn nacked(&self, before: usize) -> (DiscoveryRequest, String) {
        let nack = self.request("a NACK", before, |request| request.error_detail.is_some());
        let message = nack.error_detail.as_ref().unwrap().message.clone();
        (nack, message)
    }

    /// The first request of the streams so far.
    pub(crate) fn streams(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Stream(_))).count()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Service(Arc<Shared>);

type Responses = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Responses>, Status> {
        self.0.note(Event::Stream(request.metadata().clone()));
        let (sender, receiver) = mpsc::channel(1);
        let (shared, requests) = (Arc::clone(&self.0), request.into_inner());
        tokio::spawn(async move {
            shared.serve(requests, sender).await;
            shared.note(Event::Closed);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(|response| response))))
    }
}

impl Shared {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    /// One stream, to its end.
    async fn serve(
        &self,
        mut requests: Streaming<DiscoveryRequest>,
        sender: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    ) {
        let (mut sets, mut ends) = (self.sets.subscribe(), self.ends.subscribe());
        let mut asked: Option<DiscoveryRequest> = None;
        // The number and the nonce of what was sent last.
        let (mut sent, mut nonces) = (None, 0_u64);
        loop {
            tokio::select! {
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    self.note(Event::Request(Box::new(request.clone())));
                    let is_stale = sent.is_some() && request.response_nonce != nonces.to_string();
                    if request.type_url == TYPE_URL && !is_stale {
                        asked = Some(request);
                    }
                }
                changed = sets.changed() => if changed.is_err() { return },
                _ = ends.changed() => {
                    let _gone = sender.send(Err(Status::unavailable("the test ends the stream"))).await;
                    return;
                }
            }
            let behaviour = self.behaviour.borrow().clone();
            let (number, current) = sets.borrow_and_update().clone();
            let Some(request) = asked.as_ref().filter(|_| !behaviour.silent) else { continue };
            let is_known = request.version_info == current.version;
            let is_due = match sent {
                None if behaviour.trusts_versions => !is_known,
                // To a new stream an empty set is sent only if it has another version.
                None => !current.resources.is_empty() || !is_known || current.version.is_empty(),
                Some(before) if before == number => behaviour.resends && request.error_detail.is_some(),
                Some(_) => true,
            };
            if !is_due {
                continue;
            }
            for _ in 0..=behaviour.floods {
                nonces += 1;
                let response = DiscoveryResponse {
                    version_info: current.version.clone(),
                    resources: current.resources.clone(),
                    type_url: TYPE_URL.to_owned(),
                    nonce: nonces.to_string(),
                };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
                *self.responses.lock().unwrap() += 1;
            }
            (sent, asked) = (Some(number), None);
            if behaviour.ends_streams {
                return;
            }
        }
    }
}
