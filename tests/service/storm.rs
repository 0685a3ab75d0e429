//! Clients that do not behave: the server answers clearly or rejects cleanly, and is healthy after it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use http::Request;
use tonic::Code;

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::frames::{END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, check_headers, frame, is_acknowledged};
use crate::health::is_serving;
use crate::server::{DEADLINE, THREE_A_MINUTE, eventually};

#[tokio::test]
async fn ten_thousand_connections_come_and_go() {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let count = if files > 10_500 { 10_000 } else { files.saturating_sub(500) };
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let open: Vec<_> = (0..count).map(|_| TcpStream::connect(&server.grpc).unwrap()).collect();
    assert!(is_serving(&server.grpc).await, "with {} connections open", open.len());
    drop(open);
    assert!(is_serving(&server.grpc).await, "after {count} connections were dropped");
}

#[tokio::test]
async fn a_thousand_streams_at_once_on_a_new_connection_are_all_answered() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let stream = tokio::net::TcpStream::connect(&server.grpc).await.unwrap();
    // As Envoy: without waiting for the server's settings.
    let mut client = h2::client::Builder::new();
    let (mut requests, connection) = client.initial_max_send_streams(1024).handshake::<_, Bytes>(stream).await.unwrap();
    let request = Request::post("http://test/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit")
        .header("content-type", "application/grpc");
    let request = request.body(()).unwrap();
    let send = |_| {
        let (answer, mut body) = requests.send_request(request.clone(), false).unwrap();
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        answer
    };
    let answers: Vec<_> = (0..1024).map(send).collect();
    tokio::spawn(connection);
    for (index, answer) in answers.into_iter().enumerate() {
        assert!(answer.await.is_ok_and(|answer| answer.status() == 200), "stream {index}");
    }
}

#[tokio::test]
async fn running_out_of_files_is_survived() {
    let server = TestServer::start_with_files(64, THREE_A_MINUTE, &[]);
    let open: Vec<_> = (0..200).map(|_| TcpStream::connect(&server.grpc).unwrap()).collect();
    server.log_until("cannot accept");
    drop(open);
    assert!(is_serving(&server.grpc).await);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_a_freed_slot_is_given_again() {
    let server = TestServer::start(THREE_A_MINUTE, &["--max-connections", "3", "--workers", "1"]);
    for address in [&server.grpc, &server.http, &server.admin] {
        let mut held: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut rejected = TcpStream::connect(address).unwrap();
        rejected.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(rejected.read(&mut [0; 1]).unwrap_or(0), 0, "{address}");
        held.pop();
        // The slot is free once the server has seen the end of the connection.
        eventually("a free slot", || is_kept(address));
    }
}

/// Whether a new connection is kept: the server answers bytes that are no HTTP, or closes without a word.
fn is_kept(address: &str) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    matches!(stream.read(&mut [0; 1]), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[tokio::test]
async fn a_message_over_4_mib_is_rejected_with_a_status() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let domain = "d".repeat((4 << 20) + 1);
    let status = service.should_rate_limit(RateLimitRequest { domain, ..Default::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("4194304"), "{status:?}");
    assert!(is_serving(&server.grpc).await);
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames_of_nothing = [preface, &[0xff; 4096]].concat();
    let settings_on_a_stream = [preface, &[0, 0, 0, 4, 0, 0, 0, 0, 1]].concat();
    let cases: [&[u8]; 6] = [
        b"\0",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        &[0xff; 16_384],
        &frames_of_nothing,
        &settings_on_a_stream,
    ];
    for bytes in cases {
        let mut stream = TcpStream::connect(&server.grpc).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _reset = stream.write_all(bytes);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).map_err(|error| error.kind());
        assert!(matches!(end, Ok(_) | Err(ErrorKind::ConnectionReset)), "{:?}: {end:?}", &bytes[..bytes.len().min(40)]);
        assert!(is_serving(&server.grpc).await);
    }
}

#[tokio::test]
async fn a_pause_with_thousands_of_streams_reset_meanwhile_keeps_the_connection() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut stream = TcpStream::connect(&server.grpc).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    server.signal("STOP");
    let mut storm = Vec::new();
    for stream_id in (1..6000).step_by(2) {
        storm.extend(frame(HEADERS, END_HEADERS, stream_id, &check_headers()));
        storm.extend(frame(RST_STREAM, 0, stream_id, &2_u32.to_be_bytes()));
    }
    storm.extend(frame(PING, 0, 0, b"tidegate"));
    let sent = std::thread::spawn({
        let mut stream = stream.try_clone().unwrap();
        move || stream.write_all(&storm).unwrap()
    });
    // The storm fits into the sockets' buffers, or nearly; the test holds wherever it is cut.
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.signal("CONT");
    sent.join().unwrap();
    assert!(is_acknowledged(&mut stream), "the connection ended instead");
    assert!(is_serving(&server.grpc).await);
}
