//! Connections in memory that are polled by hand, so that it is known which of them are read before checks are decided.

use std::pin::Pin;
use std::task::Context;

use prost::Message;
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf};

use super::*;
use crate::access::{ClientFile, ClientNames};
use crate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use crate::http2::frame::{DATA, END_HEADERS, END_STREAM, HEAD_BYTES, HEADERS, Head, PREFACE, SETTINGS, put_frame};
use crate::http2::hpack::{put_field, put_indexed};
use crate::net::Slot;
use crate::rls::connection::tests::{check, services, services_with};
use crate::rls::lean::{Ended, serve};
use crate::rls::services::CHECK;
use crate::runtime::lifecycle::Lifecycle;

/// A connection, and its client's end.
struct Connection {
    client: DuplexStream,
    serving: Pin<Box<dyn Future<Output = Result<(), Ended>>>>,
}

fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

impl Connection {
    /// One whose client has sent so many checks.
    async fn new(lifecycle: &Lifecycle, services: &Services, gathered: &Gathered, checks: u32) -> Self {
        let (mut client, ours) = tokio::io::duplex(64 << 10);
        client.write_all(PREFACE).await.unwrap();
        let mut sent = Vec::new();
        put_frame(&mut sent, SETTINGS, 0, 0, &[]);
        (0..checks).for_each(|number| put_check(&mut sent, 2 * number + 1));
        client.write_all(&sent).await.unwrap();
        let serving =
            Box::pin(serve(ours, services.clone(), Slot::alone(), lifecycle.phases(), None, gathered.clone()));
        Self { client, serving }
    }

    /// So many of them, with one check each.
    async fn several(count: usize, lifecycle: &Lifecycle, services: &Services, gathered: &Gathered) -> Vec<Self> {
        let mut several = Vec::with_capacity(count);
        for _ in 0..count {
            several.push(Self::new(lifecycle, services, gathered, 1).await);
        }
        several
    }

    fn poll(&mut self) -> Poll<Result<(), Ended>> {
        poll(&mut self.serving)
    }

    /// What was answered since the last time: the codes of checks that were decided, and how many others there were.
    fn answers(&mut self) -> (Vec<Code>, usize) {
        let mut buffer = vec![0; 64 << 10];
        let mut buffer = ReadBuf::new(&mut buffer);
        let _read = Pin::new(&mut self.client).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        let (mut rest, mut codes, mut others) = (buffer.filled(), Vec::new(), 0);
        while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let head = Head::read(*head);
            let (payload, after) = after.split_at(head.length);
            match head.kind {
                DATA => codes.push(RateLimitResponse::decode(&payload[5..]).unwrap().overall_code()),
                HEADERS if head.has(END_STREAM) => others += 1,
                _ => {}
            }
            rest = after;
        }
        // Each answer has trailers.
        others -= codes.len();
        (codes, others)
    }

    fn codes(&mut self) -> Vec<Code> {
        let (codes, others) = self.answers();
        assert_eq!(others, 0);
        codes
    }
}

/// A check of the user `u`.
fn put_check(out: &mut Vec<u8>, id: u32) {
    put_headers(out, id);
    put_frame(out, DATA, END_STREAM, id, &check());
}

/// The headers of a check.
pub(in crate::rls::lean) fn put_headers(out: &mut Vec<u8>, id: u32) {
    let mut block = Vec::new();
    put_indexed(&mut block, 3);
    put_indexed(&mut block, 6);
    put_field(&mut block, b":path", CHECK.as_bytes());
    put_field(&mut block, b"content-type", b"application/grpc");
    put_frame(out, HEADERS, END_HEADERS, id, &block);
}

/// The checks of a worker, and the task that decides them.
fn gathered(services: &Services) -> (Gathered, Pin<Box<dyn Future<Output = ()>>>) {
    let gathered = Gathered::default();
    let mut decider: Pin<Box<dyn Future<Output = ()>>> = Box::pin(gathered.clone().run(services.clone()));
    assert!(poll(&mut decider).is_pending());
    (gathered, decider)
}

#[tokio::test]
async fn connections_that_are_read_in_one_turn_have_their_checks_decided_together_in_order() {
    let lifecycle = Lifecycle::default();
    let services = services(&lifecycle);
    let (gathered, mut decider) = gathered(&services);
    let mut connections = Connection::several(14, &lifecycle, &services, &gathered).await;
    for (index, connection) in connections.iter_mut().enumerate() {
        assert!(connection.poll().is_pending());
        // The first ones have no company yet.
        let answers = if index < 3 { vec![Code::Ok] } else { Vec::new() };
        assert_eq!(connection.codes(), answers, "connection {index}");
    }
    assert!(poll(&mut decider).is_pending());
    for (index, connection) in connections.iter_mut().enumerate().skip(3) {
        assert!(connection.poll().is_pending());
        // Ten a day, in the order in which they were read.
        assert_eq!(connection.codes(), [if index < 10 { Code::Ok } else { Code::OverLimit }], "connection {index}");
    }
    // In the next turn the worker is known to have many connections, until there is one with few.
    gathered.end_turn();
    let mut next = Connection::new(&lifecycle, &services, &gathered, 1).await;
    assert!(next.poll().is_pending());
    assert_eq!(next.codes(), []);
    gathered.end_turn();
    let mut last = Connection::new(&lifecycle, &services, &gathered, 1).await;
    assert!(last.poll().is_pending());
    assert_eq!(last.codes(), [Code::OverLimit]);
    assert!(poll(&mut decider).is_pending());
    assert!(next.poll().is_pending());
    assert_eq!(next.codes(), [Code::OverLimit]);
}

#[tokio::test]
async fn a_read_with_many_checks_does_not_wait() {
    let lifecycle = Lifecycle::default();
    let services = services_with(&lifecycle, "{unit: day, requests_per_unit: 1000}");
    let (gathered, _decider) = gathered(&services);
    for _ in 0..10 {
        let mut connection = Connection::new(&lifecycle, &services, &gathered, 3).await;
        assert!(connection.poll().is_pending());
        assert_eq!(connection.codes(), [Code::Ok; 3]);
    }
}

#[tokio::test]
async fn what_waits_is_decided_before_more_is_read_and_before_the_connection_ends() {
    let lifecycle = Lifecycle::default();
    let services = services_with(&lifecycle, "{unit: day, requests_per_unit: 5}");
    let (gathered, _decider) = gathered(&services);
    let mut connections = Connection::several(6, &lifecycle, &services, &gathered).await;
    for connection in &mut connections {
        assert!(connection.poll().is_pending());
    }
    connections.drain(..3);
    // More checks of one of them than wait for others: they come behind the one that waits, which takes the last but one of five.
    let [before, both, after] = connections.as_mut_slice() else { panic!() };
    let mut sent = Vec::new();
    for id in [3, 5, 7] {
        put_check(&mut sent, id);
    }
    both.client.write_all(&sent).await.unwrap();
    assert!(both.poll().is_pending());
    assert_eq!(both.codes(), [Code::Ok, Code::OverLimit, Code::OverLimit, Code::OverLimit]);
    for (connection, code) in [(before, Code::Ok), (after, Code::OverLimit)] {
        assert!(connection.poll().is_pending());
        assert_eq!(connection.codes(), [code]);
    }
    // A client that sends a check and closes its side gets the answer.
    let mut closed = Connection::new(&lifecycle, &services, &gathered, 1).await;
    closed.client.shutdown().await.unwrap();
    assert!(closed.poll().is_ready());
    assert_eq!(closed.codes(), [Code::OverLimit]);
}

#[tokio::test]
async fn each_client_may_check_only_its_domains_also_among_others() {
    let lifecycle = Lifecycle::default();
    let services = services_with(&lifecycle, "{unit: day, requests_per_unit: 1000}");
    let (gathered, mut decider) = gathered(&services);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.yaml");
    std::fs::write(&path, "clients: [{san: 'DNS:a', domains: [api]}, {san: 'DNS:b', domains: [other]}]").unwrap();
    let file = Arc::new(ClientFile::open(&path).unwrap());
    let caller = |name: &str| {
        let names = ClientNames { dns: vec![name.into()], ..ClientNames::default() };
        services.of(Caller::new(Arc::clone(&file), names))
    };
    let (a, b) = (caller("a"), caller("b"));
    let mut connections = Vec::new();
    for services in [&a, &a, &b, &a, &b, &b, &a, &services] {
        connections.push(Connection::new(&lifecycle, services, &gathered, 2).await);
    }
    for connection in &mut connections {
        assert!(connection.poll().is_pending());
    }
    assert!(poll(&mut decider).is_pending());
    let allowed = [true, true, false, true, false, false, true, true];
    for (connection, is_allowed) in connections.iter_mut().zip(allowed) {
        assert!(connection.poll().is_pending());
        let answers = connection.answers();
        assert_eq!(answers, if is_allowed { (vec![Code::Ok; 2], 0) } else { (Vec::new(), 2) });
    }
}

#[tokio::test]
async fn a_delayed_answer_comes_when_it_is_due() {
    let lifecycle = Lifecycle::default();
    let services =
        services_with(&lifecycle, "{algorithm: token_bucket, unit: second, requests_per_unit: 5, burst: 6, queue: 4}");
    let (gathered, mut decider) = gathered(&services);
    let mut connections = Connection::several(8, &lifecycle, &services, &gathered).await;
    for connection in &mut connections {
        assert!(connection.poll().is_pending());
    }
    assert!(poll(&mut decider).is_pending());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    for connection in &mut connections {
        loop {
            assert!(connection.poll().is_pending());
            let codes = connection.codes();
            if !codes.is_empty() {
                assert_eq!(codes, [Code::Ok]);
                break;
            }
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}
