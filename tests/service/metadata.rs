//! Request metadata: whatever a client adds to a check, the check is decided.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;

use bytes::Bytes;
use http::Request;
use prost::Message;
use tokio::net::TcpStream;
use tonic::Code;

use crate::TestServer;
use crate::drain::check;
use crate::health::is_serving;
use crate::raw::{Answer, SHOULD_RATE_LIMIT, frame, receive};
use crate::server::{DEADLINE, THREE_A_MINUTE};

/// The answer to a check with so many headers of so many bytes each, which came in one piece or in two.
async fn ask(address: &str, headers: usize, bytes: usize, pieces: usize) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let mut request =
        Request::post(format!("http://test{SHOULD_RATE_LIMIT}")).header("content-type", "application/grpc");
    for i in 0..headers {
        request = request.header(format!("x-more-{i}"), "v".repeat(bytes));
    }
    let (answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    let message = Bytes::from(frame(&check("key", &format!("{headers}/{bytes}/{pieces}")).encode_to_vec()));
    let cut = if pieces == 1 { message.len() } else { 7 };
    let _rejected = body.send_data(message.slice(..cut), pieces == 1);
    if pieces > 1 {
        tokio::task::yield_now().await;
        let _rejected = body.send_data(message.slice(cut..), true);
    }
    let answer = receive(answer).await;
    running.abort();
    answer
}

#[tokio::test]
async fn checks_with_much_metadata_are_decided() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let ok = (200, Some(i32::from(Code::Ok).unsigned_abs()));
    for (headers, bytes, expected) in [
        (0, 0, ok),
        (1, 20_000, ok),
        (200, 100, ok),
        (10, 6_000, ok),
        (800, 100, ok),
        (1, 120_000, ok),
        (15, 8_000, ok),
        (1, 140_000, (431, None)),
        (20, 8_000, (431, None)),
    ] {
        for pieces in [1, 2] {
            let answer = ask(&server.grpc, headers, bytes, pieces).await;
            assert_eq!((answer.http, answer.status), expected, "{headers} of {bytes}, {pieces}: {answer:?}");
        }
        assert!(is_serving(&server.grpc).await);
    }
}

#[test]
fn json_checks_with_many_headers_are_decided() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let body = r#"{"domain":"api","descriptors":[{"entries":[{"key":"other"}]}]}"#;
    for (headers, bytes, expected) in [(1, 20_000, "200"), (500, 100, "200"), (15, 8_000, "200"), (1, 140_000, "431")] {
        let more: Vec<_> = (0..headers).map(|i| format!("x-more-{i}: {}\r\n", "v".repeat(bytes))).collect();
        let more = more.concat();
        let head = format!("POST /json HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        let mut stream = StdStream::connect(&server.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _rejected = stream.write_all(format!("{head}{more}\r\n{body}").as_bytes());
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{headers} of {bytes}: {answer}");
    }
}
