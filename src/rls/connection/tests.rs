//! Checks over a connection in memory: what is written, and how often.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::ResponseFuture;
use prost::Message;
use tokio::io::{DuplexStream, ReadBuf};

use super::*;
use crate::api::proto::envoy::extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor};
use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use crate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::limiter::{Limiter, Settings, WorkerSlot};
use crate::rules::{LoadOptions, SourceFile, load};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::{Lifecycle, Phase};
use crate::service::{DelayedReplies, Service};
use crate::telemetry::DecisionTimes;

/// A stream that counts what is written at once.
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

/// A worker's services, with ten a day for each user.
fn services(lifecycle: &Lifecycle) -> Services {
    let text = b"domain: api\ndescriptors: [{key: user, rate_limit: {unit: day, requests_per_unit: 10}}]".to_vec();
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
    };
    Services::new(&service, WorkerSlot(0))
}

fn check() -> Bytes {
    let entries = vec![rate_limit_descriptor::Entry { key: "user".into(), value: "u".into() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..Default::default() }];
    let message = RateLimitRequest { domain: "api".into(), descriptors, hits_addend: 1 }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

fn call() -> Request<()> {
    Request::post("http://tidegate/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit").body(()).unwrap()
}

/// The overall code of an answer, whose call has ended well.
async fn code(answer: ResponseFuture) -> Code {
    let mut body = answer.await.unwrap().into_body();
    let framed = body.data().await.unwrap().unwrap();
    assert_eq!(body.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
    RateLimitResponse::decode(&framed[5..]).unwrap().overall_code()
}

#[tokio::test]
async fn checks_that_came_together_are_answered_in_one_write_and_in_their_order() {
    let (lifecycle, writes) = (Lifecycle::default(), Arc::new(AtomicUsize::new(0)));
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    let served = tokio::spawn(serve(Counted(ours, Arc::clone(&writes)), services(&lifecycle), lifecycle.phases()));
    let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
    // Nothing is sent before the connection is driven: all checks go out together.
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
    // The settings, their acknowledgement, perhaps the peer's window, and the answers.
    let written = writes.load(Ordering::Relaxed);
    assert!(written <= 4, "{written} writes for 32 checks that came together");
    lifecycle.advance(Phase::Stopping);
    // It ends when the process stops; either side may close first; it is an error if it is the peer.
    let _hung_up = served.await.unwrap();
    drop(client);
    client_side.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_check_in_pieces_is_decided_when_it_is_complete() {
    let lifecycle = Lifecycle::default();
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    tokio::spawn(serve(ours, services(&lifecycle), lifecycle.phases()));
    let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    for cut in [1, 5, 9, check().len() - 1] {
        let (answer, mut body) = client.send_request(call(), false).unwrap();
        body.send_data(check().slice(..cut), false).unwrap();
        // Another check passes it meanwhile.
        let (passing, mut whole) = client.send_request(call(), false).unwrap();
        whole.send_data(check(), true).unwrap();
        assert_eq!(code(passing).await, Code::Ok, "cut at {cut}");
        body.send_data(check().slice(cut..), true).unwrap();
        assert_eq!(code(answer).await, Code::Ok, "cut at {cut}");
    }
    // Eight of ten are used: an end that comes on its own is no piece.
    for want in [Code::Ok, Code::Ok, Code::OverLimit] {
        let (answer, mut body) = client.send_request(call(), false).unwrap();
        body.send_data(check(), false).unwrap();
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(code(answer).await, want);
    }
}

/// What the headers say of a message that is not compressed makes no difference, however it arrives.
#[tokio::test]
async fn a_check_whose_headers_name_an_encoding_is_decided_whole_and_in_pieces() {
    let lifecycle = Lifecycle::default();
    let (theirs, ours) = tokio::io::duplex(64 << 10);
    tokio::spawn(serve(ours, services(&lifecycle), lifecycle.phases()));
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
