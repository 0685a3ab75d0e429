//! Checks over a connection in memory: what is written, and how often.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::ResponseFuture;
use prost::Message;
use tokio::io::{DuplexStream, ReadBuf};

use super::*;
use crate::access::{Caller, ClientFile, ClientNames};
use crate::api::proto::envoy::extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor};
use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use crate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::limiter::{Limiter, Settings, WorkerSlot};
use crate::net::{FrontEnd, PartialBytes};
use crate::recording::Recordings;
use crate::rls::{OtherCalls, lean};
use crate::rules::{LoadOptions, SourceFile, load};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::{Lifecycle, Phase};
use crate::service::{DelayedReplies, Service};
use crate::telemetry::DecisionTimes;

/// A stream that counts writes.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Serves a connection, whichever front end does.
async fn serve<S>(
    front_end: FrontEnd,
    stream: S,
    services: Services,
    slot: Arc<Slot>,
    phases: Phases,
    age: Option<Age>,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match front_end {
        FrontEnd::H2 => super::serve(stream, services, slot, phases, age).await.map_err(|error| error.to_string()),
        FrontEnd::Lean => {
            let gathered = lean::Gathered::default();
            lean::serve(stream, services, slot, phases, age, gathered).await.map_err(|error| error.to_string())
        }
    }
}

const BOTH: [FrontEnd; 2] = [FrontEnd::H2, FrontEnd::Lean];

/// A worker's services, with ten a day for each user.
pub(in crate::rls) fn services(lifecycle: &Lifecycle) -> Services {
    services_with(lifecycle, "{unit: day, requests_per_unit: 10}")
}

/// A worker's services, with this limit for each user.
pub(in crate::rls) fn services_with(lifecycle: &Lifecycle, limit: &str) -> Services {
    let text = format!("domain: api\ndescriptors: [{{key: user, rate_limit: {limit}}}]").into_bytes();
    let rules = load(&[SourceFile { name: "rules.yaml".into(), text }], LoadOptions::default()).unwrap();
    let limiter = Limiter::new(Settings::default());
    limiter.replace_rules(crate::units::Timestamp::EPOCH, rules);
    let service = Service {
        limiter: Arc::new(limiter),
        clock: Arc::new(Clock::start()),
        worker: WorkerSlot(0),
        tracer: None,
        delayed: DelayedReplies::default(),
        phases: lifecycle.phases(),
        times: Arc::new(DecisionTimes::new(1)),
        recordings: Arc::new(Recordings::new(1)),
        asker: None,
    };
    let (partial, calls) = (PartialBytes::default(), OtherCalls::default());
    Services::new(&service, WorkerSlot(0), partial, calls, &crate::grpc::Ready::default())
}

pub(in crate::rls) fn check() -> Bytes {
    let entries = vec![rate_limit_descriptor::Entry { key: "user".into(), value: "u".into() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..Default::default() }];
    let message = RateLimitRequest { domain: "api".into(), descriptors, hits_addend: 1 }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

fn call() -> Request<()> {
    Request::post("http://tidegate/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit").body(()).unwrap()
}

fn watch() -> Request<()> {
    let watch = Request::post("http://tidegate/grpc.health.v1.Health/Watch");
    watch.header("content-type", "application/grpc").body(()).unwrap()
}

/// The overall code of an answer whose call has succeeded.
async fn code(answer: ResponseFuture) -> Code {
    let mut body = answer.await.unwrap().into_body();
    let framed = body.data().await.unwrap().unwrap();
    assert_eq!(body.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
    RateLimitResponse::decode(&framed[5..]).unwrap().overall_code()
}

#[tokio::test]
async fn checks_that_came_together_are_answered_in_one_write_and_in_their_order() {
    for front_end in BOTH {
        checks_that_came_together_are_answered_in_one_write_and_in_their_order_on(front_end).await;
    }
}

async fn checks_that_came_together_are_answered_in_one_write_and_in_their_order_on(front_end: FrontEnd) {
    let (lifecycle, writes) = (Lifecycle::default(), Arc::new(AtomicUsize::new(0)));
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    let served = tokio::spawn(serve(
        front_end,
        Counted(ours, Arc::clone(&writes)),
        services(&lifecycle),
        Slot::alone(),
        lifecycle.phases(),
        None,
    ));
    let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
    // Nothing is sent before the connection is polled, so all checks are sent together.
    let answers: Vec<_> = (0..32)
        .map(|_| {
            let (answer, mut body) = client.send_request(call(), false).unwrap();
            body.send_data(check(), true).unwrap();
            answer
        })
        .collect();
    let client_side = tokio::spawn(connection);
    let mut codes = Vec::new();
    for answer in answers {
        codes.push(code(answer).await);
    }
    assert_eq!(codes, [[Code::Ok; 10].as_slice(), &[Code::OverLimit; 22]].concat());
    // The settings, their acknowledgement, perhaps a window update, and the answers.
    let written = writes.load(Ordering::Relaxed);
    assert!(written <= 4, "{written} writes for 32 checks that came together");
    lifecycle.advance(Phase::Stopping);
    // It ends when the process stops; either side may close it first, and it is an error if the peer does.
    let _hung_up = served.await.unwrap();
    drop(client);
    client_side.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_check_in_pieces_is_decided_when_it_is_complete() {
    for front_end in BOTH {
        a_check_in_pieces_is_decided_when_it_is_complete_on(front_end).await;
    }
}

async fn a_check_in_pieces_is_decided_when_it_is_complete_on(front_end: FrontEnd) {
    let lifecycle = Lifecycle::default();
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    tokio::spawn(serve(front_end, ours, services(&lifecycle), Slot::alone(), lifecycle.phases(), None));
    let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    for cut in [1, 5, 9, check().len() - 1] {
        let (answer, mut body) = client.send_request(call(), false).unwrap();
        body.send_data(check().slice(..cut), false).unwrap();
        // Another check is answered meanwhile.
        let (passing, mut whole) = client.send_request(call(), false).unwrap();
        whole.send_data(check(), true).unwrap();
        assert_eq!(code(passing).await, Code::Ok, "cut at {cut}");
        body.send_data(check().slice(cut..), true).unwrap();
        assert_eq!(code(answer).await, Code::Ok, "cut at {cut}");
    }
    // Eight of ten are used: an end of stream in its own frame is not a piece.
    for want in [Code::Ok, Code::Ok, Code::OverLimit] {
        let (answer, mut body) = client.send_request(call(), false).unwrap();
        body.send_data(check(), false).unwrap();
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(code(answer).await, want);
    }
}

/// The encoding in the headers does not matter for a message that is not compressed, however it arrives.
#[tokio::test]
async fn a_check_whose_headers_name_an_encoding_is_decided_whole_and_in_pieces() {
    for front_end in BOTH {
        a_check_whose_headers_name_an_encoding_is_decided_whole_and_in_pieces_on(front_end).await;
    }
}

async fn a_check_whose_headers_name_an_encoding_is_decided_whole_and_in_pieces_on(front_end: FrontEnd) {
    let lifecycle = Lifecycle::default();
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    tokio::spawn(serve(front_end, ours, services(&lifecycle), Slot::alone(), lifecycle.phases(), None));
    let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &check()[5..]).unwrap();
    let gzip = gzip.finish().unwrap();
    let length = u32::try_from(gzip.len()).unwrap().to_be_bytes();
    let compressed = Bytes::from([&[1][..], &length, &gzip].concat());
    for (encoding, message) in [("gzip", &compressed), ("gzip", &check()), ("zstd", &check()), ("identity", &check())] {
        for cut in [None, Some(3), Some(9), Some(message.len())] {
            let mut call = call();
            call.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
            let (answer, mut body) = client.send_request(call, false).unwrap();
            let Some(cut) = cut else {
                body.send_data(message.clone(), true).unwrap();
                assert_ne!(code(answer).await, Code::Unknown);
                continue;
            };
            body.send_data(message.slice(..cut), false).unwrap();
            tokio::task::yield_now().await;
            body.send_data(message.slice(cut..), true).unwrap();
            assert_ne!(code(answer).await, Code::Unknown, "{encoding}, cut at {cut}");
        }
    }
}

/// The status of a check that was rejected.
async fn rejected(answer: ResponseFuture) -> String {
    let answer = answer.await.unwrap();
    let (head, mut body) = answer.into_parts();
    // A whole check is rejected without trailers.
    let trailers = if head.headers.contains_key("grpc-status") { None } else { body.trailers().await.unwrap() };
    let headers = trailers.unwrap_or(head.headers);
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    format!("{} {}", text("grpc-status"), text("grpc-message"))
}

/// Whole or in pieces, a check of a domain that the client may not check is rejected; a changed file is in force for connections that
/// exist.
#[tokio::test]
async fn a_client_checks_its_own_domains_only() {
    for front_end in BOTH {
        a_client_checks_its_own_domains_only_on(front_end).await;
    }
}

async fn a_client_checks_its_own_domains_only_on(front_end: FrontEnd) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.yaml");
    let allow =
        |domain: &str| std::fs::write(&path, format!("clients: [{{san: 'DNS:a.example.org', domains: [{domain}]}}]"));
    allow("api").unwrap();
    let file = Arc::new(ClientFile::open(&path).unwrap());
    let names = |name: &str| ClientNames { dns: vec![name.to_owned()], ..ClientNames::default() };
    let lifecycle = Lifecycle::default();
    for (name, steps) in [("a.example.org", [true, false, true]), ("b.example.org", [false; 3])] {
        allow("api").unwrap();
        file.refresh();
        let (theirs, ours) = tokio::io::duplex(64 << 10);
        let of_client = services(&lifecycle).of(Caller::new(Arc::clone(&file), names(name)));
        tokio::spawn(serve(front_end, ours, of_client, Slot::alone(), lifecycle.phases(), None));
        let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
        tokio::spawn(connection);
        for (is_allowed, domain) in steps.into_iter().zip(["api", "other", "\"*\""]) {
            allow(domain).unwrap();
            file.refresh();
            for cut in [None, Some(9)] {
                let (answer, mut body) = client.send_request(call(), false).unwrap();
                match cut {
                    None => body.send_data(check(), true).unwrap(),
                    Some(cut) => {
                        body.send_data(check().slice(..cut), false).unwrap();
                        tokio::task::yield_now().await;
                        body.send_data(check().slice(cut..), true).unwrap();
                    }
                }
                if is_allowed {
                    assert_eq!(code(answer).await, Code::Ok, "{name}, {domain}");
                } else {
                    assert!(rejected(answer).await.starts_with("7 this"), "{name}, {domain}");
                }
            }
        }
    }
}

/// A stream that is never completed does not stay, whatever it is for.
#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_arrive_ends_after_some_seconds() {
    for front_end in BOTH {
        a_request_that_does_not_arrive_ends_after_some_seconds_on(front_end).await;
    }
}

async fn a_request_that_does_not_arrive_ends_after_some_seconds_on(front_end: FrontEnd) {
    let lifecycle = Lifecycle::default();
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    let all = services(&lifecycle);
    tokio::spawn(serve(front_end, ours, all.clone(), Slot::alone(), lifecycle.phases(), None));
    let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    for (path, encoding, sent) in [
        (call().uri().path(), "identity", &check()[..9]),
        (call().uri().path(), "identity", &[]),
        (call().uri().path(), "gzip", &[1, 0, 0]),
        ("/grpc.health.v1.Health/Check", "identity", &[0]),
        ("/grpc.health.v1.Health/Watch", "identity", &[]),
    ] {
        let request = Request::post(format!("http://tidegate{path}"))
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding);
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::copy_from_slice(sent), false).unwrap();
        let answer = tokio::time::timeout(std::time::Duration::from_secs(11), answer).await.expect(path).unwrap();
        assert_eq!(answer.headers().get("grpc-status").unwrap(), "4", "{path}, {encoding}");
    }
    // The limit is on requests: the answer of a call that is complete may take as long as it likes.
    let (answer, mut body) = client.send_request(watch(), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let mut changes = answer.await.unwrap().into_body();
    changes.data().await.unwrap().unwrap();
    let next = tokio::time::timeout(std::time::Duration::from_mins(10), changes.data()).await;
    assert!(next.is_err(), "{next:?}");
}

#[tokio::test]
async fn long_calls_are_few_and_checks_go_on() {
    for front_end in BOTH {
        long_calls_are_few_and_checks_go_on_on(front_end).await;
    }
}

async fn long_calls_are_few_and_checks_go_on_on(front_end: FrontEnd) {
    let lifecycle = Lifecycle::default();
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    tokio::spawn(serve(front_end, ours, services(&lifecycle), Slot::alone(), lifecycle.phases(), None));
    let (mut client, connection) =
        h2::client::Builder::new().initial_max_send_streams(4_000).handshake::<_, Bytes>(theirs).await.unwrap();
    tokio::spawn(connection);
    let (mut open, mut rejected) = (Vec::new(), 0);
    for _ in 0..1_100 {
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(watch(), false).unwrap();
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        let answer = answer.await.unwrap();
        if let Some(status) = answer.headers().get("grpc-status") {
            assert_eq!(status, "8");
            rejected += 1;
        } else {
            let mut changes = answer.into_body();
            changes.data().await.unwrap().unwrap();
            open.push(changes);
        }
    }
    assert_eq!((open.len(), rejected), (1_024, 76));
    client = client.ready().await.unwrap();
    let (answer, mut body) = client.send_request(call(), false).unwrap();
    body.send_data(check(), true).unwrap();
    assert_eq!(code(answer).await, Code::Ok);
    drop(open);
    // The streams are reset, and there is room again.
    for _ in 0..100 {
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(watch(), false).unwrap();
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        if answer.await.unwrap().headers().get("grpc-status").is_none() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("no room for another one");
}
