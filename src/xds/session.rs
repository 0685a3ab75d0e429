//! The task that connects, subscribes, and answers what the control plane sends.

use std::sync::Arc;
use std::time::Duration;

use prost_types::Struct;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::Client;
use super::backoff::{Backoff, Pace, jittered};
use super::resources::TYPE_URL;
use super::response::{Response, ResponseCodec};
use super::rules::{Verdict, XdsRules};
use crate::api::proto::envoy::config::core::v3::Node;
use crate::api::proto::envoy::config::core::v3::node::UserAgentVersionType;
use crate::api::proto::envoy::service::discovery::v3::DiscoveryRequest;
use crate::api::proto::google::rpc;
use crate::runtime::OnceAMinute;
use crate::runtime::clock::Stopwatch;
use crate::runtime::lifecycle::Phases;
use crate::sanitize::sanitize;

/// Connects again and again until the process stops.
pub(super) async fn follow(client: Client, rules: Arc<XdsRules>, mut phases: Phases) {
    let mut retry = Backoff::new(client.retry.0, client.retry.1);
    let hold = Backoff::new(FIRST_HOLD, LONGEST_HOLD);
    let mut session = Session { client, rules, pace: Pace::new(), rested: Stopwatch::start(), hold };
    let (failures, connections) = (OnceAMinute::default(), OnceAMinute::default());
    loop {
        let mut accepted = false;
        let ended = tokio::select! {
            ended = session.run(&connections, &mut accepted) => ended,
            () = phases.stopping() => return,
        };
        session.rules.status().note_end();
        if accepted {
            retry.reset();
        }
        let pause = jittered(retry.next(), getrandom::u32().unwrap_or(u32::MAX / 2));
        let server = &session.client.server;
        if failures.may_say() {
            tracing::warn!(
                "xDS: {server}: {}; the rules in force stay, and connecting is tried again (logged once a minute at most)",
                sanitize(&ended)
            );
        } else {
            tracing::debug!("xDS: {server}: {}; next attempt in {pause:?}", sanitize(&ended));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = phases.stopping() => return,
        }
    }
}

/// What outlives a stream.
struct Session {
    client: Client,
    rules: Arc<XdsRules>,
    pace: Pace,
    /// Since the last time that a response was waited for.
    rested: Stopwatch,
    /// How long a NACK of the same set is held back.
    hold: Backoff,
}

/// One stream.
struct Stream {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<Response>,
    /// The version of the last set that was accepted on this stream.
    version: String,
}

impl Session {
    /// One connection, from its begin to its end: why it ended. Sets `accepted` when a set is.
    async fn run(&mut self, connections: &OnceAMinute, accepted: &mut bool) -> String {
        let channel = match self.client.server.connect().await {
            Ok(channel) => channel,
            Err(error) => return error,
        };
        self.rules.status().note_stream();
        if connections.may_say() {
            tracing::info!("xDS: connected to {} as node '{}'", self.client.server, sanitize(&self.client.node_id));
        }
        let mut stream = match self.subscribe(channel).await {
            Ok(stream) => stream,
            Err(status) => return describe(&status),
        };
        loop {
            // Not before there is room for another change: what is not read, the control plane cannot send.
            tokio::time::sleep(self.pace.after(self.rested.elapsed().into())).await;
            self.rested = Stopwatch::start();
            match stream.responses.message().await {
                Ok(Some(response)) => *accepted |= self.answer(&mut stream, response).await,
                Ok(None) => return "the control plane has ended the stream".to_owned(),
                Err(status) => return describe(&status),
            }
        }
    }

    /// Asks for all rate limit configurations, with neither a version nor a nonce of an earlier stream.
    ///
    /// Waits for the first bytes of the answer, which may not come before the first set.
    async fn subscribe(&self, channel: Channel) -> Result<Stream, Status> {
        let (requests, sent) = mpsc::channel(REQUESTS);
        let mut request = Request::new(ReceiverStream::new(sent));
        for (name, value) in &self.client.headers {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        // There is room: it is the first.
        let _sent = requests.try_send(self.request());
        let mut client = Grpc::new(channel).max_decoding_message_size(self.client.max_message_bytes);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let responses = client.streaming(request, PathAndQuery::from_static(METHOD), ResponseCodec).await?.into_inner();
        Ok(Stream { requests, responses, version: String::new() })
    }

    /// Puts a set in force and answers it. Returns whether it was accepted.
    async fn answer(&mut self, stream: &mut Stream, response: Response) -> bool {
        let message = &response.message;
        if message.type_url != TYPE_URL {
            tracing::debug!("xDS: a response of a type that was not asked for: {}", sanitize(&message.type_url));
            return false;
        }
        let (version, nonce) = (message.version_info.clone(), message.nonce.clone());
        let rules = Arc::clone(&self.rules);
        // Parsing blocks. The task is not cancelled, so that a set is taken as a whole.
        let taken = tokio::task::spawn_blocking(move || rules.take(&response)).await;
        let Ok(verdict) = taken else { return false };
        let answer = DiscoveryRequest { response_nonce: nonce, ..self.request() };
        let answer = match &verdict {
            Verdict::Accepted => {
                self.hold.reset();
                self.rules.status().note_ack();
                stream.version.clone_from(&version);
                DiscoveryRequest { version_info: version, ..answer }
            }
            Verdict::Rejected { message, again } => {
                if *again {
                    tokio::time::sleep(self.hold.next()).await;
                } else {
                    self.hold.reset();
                }
                self.rules.status().note_nack();
                let error_detail =
                    Some(rpc::Status { code: INVALID_ARGUMENT, message: message.clone(), details: Vec::new() });
                DiscoveryRequest { version_info: stream.version.clone(), error_detail, ..answer }
            }
        };
        // That the stream has ended shows at the next message.
        let _ended = stream.requests.send(answer).await;
        verdict == Verdict::Accepted
    }

    /// A request that subscribes and acknowledges nothing.
    fn request(&self) -> DiscoveryRequest {
        let fields = self.client.node_metadata.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        let metadata = Some(Struct { fields: fields.collect() }).filter(|metadata| !metadata.fields.is_empty());
        let node = Node {
            id: self.client.node_id.clone(),
            metadata,
            user_agent_name: env!("CARGO_PKG_NAME").to_owned(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(env!("CARGO_PKG_VERSION").to_owned())),
            ..Node::default()
        };
        DiscoveryRequest { node: Some(node), type_url: TYPE_URL.to_owned(), ..DiscoveryRequest::default() }
    }
}

fn describe(status: &Status) -> String {
    let text = if status.message().is_empty() { status.code().description() } else { status.message() };
    format!("the stream has ended: {text} ({:?})", status.code())
}

/// The stream of all resources, which has a decoder of its own here.
const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// Of gRPC.
const INVALID_ARGUMENT: i32 = 3;
/// One is sent for each response, so two never wait.
const REQUESTS: usize = 2;
/// A control plane that answers each NACK with the same set, as those made with go-control-plane do, would be answered thousands
/// of times a second.
const FIRST_HOLD: Duration = Duration::from_secs(1);
/// A corrected set is noticed within this time.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
