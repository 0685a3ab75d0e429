//! Compressed requests: answered like any other, and bombs that cost no memory.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use h2::client::ResponseFuture;
use http::Request;
use prost::Message;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code as Overall;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::drain::check;
use crate::health::is_serving;
use crate::raw::{Call, SHOULD_RATE_LIMIT, frame, frame_of, receive};
use crate::server::eventually_async;

const TWO_A_YEAR: &str = "domain: api\ndescriptors:\n- {key: key, rate_limit: {unit: year, requests_per_unit: 2}}\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A compressed message in its frame.
fn compressed(message: &[u8]) -> Vec<u8> {
    let zipped = gzip(message);
    frame_of(1, zipped.len(), &zipped)
}

fn call(encoding: &'static str, body: Vec<u8>) -> Call {
    let good = Call::new(body);
    Call { headers: [&good.headers[..], &[("grpc-encoding", encoding)]].concat(), ..good }
}

/// A check whose value makes it this many bytes long.
fn sized(bytes: usize) -> Vec<u8> {
    let empty = check("key", "").encoded_len();
    let mut request = check("key", &"x".repeat(bytes - empty));
    while request.encoded_len() > bytes {
        request.descriptors[0].entries[0].value.pop();
    }
    request.encode_to_vec()
}

#[tokio::test]
async fn a_client_that_compresses_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("grpc.sock").display());
    for server in [TestServer::start(TWO_A_YEAR, &[]), TestServer::start(TWO_A_YEAR, &["--grpc-addr", &socket])] {
        let mut service =
            RateLimitServiceClient::new(server.channel().await).send_compressed(CompressionEncoding::Gzip);
        for value in ["v".to_owned(), "w".repeat(100_000)] {
            for expected in [Overall::Ok, Overall::Ok, Overall::OverLimit] {
                let answer = service.should_rate_limit(check("key", &value)).await.unwrap().into_inner();
                assert_eq!(answer.overall_code(), expected);
            }
        }
        // The same counters as of those who do not.
        let mut plain = RateLimitServiceClient::new(server.channel().await);
        let answer = plain.should_rate_limit(check("key", "v")).await.unwrap().into_inner();
        assert_eq!(answer.overall_code(), Overall::OverLimit);
    }
}

#[tokio::test]
async fn every_service_takes_what_is_compressed() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    for address in [&server.grpc, &server.admin] {
        let channel = crate::server::connect(address).await;
        let mut health = HealthClient::new(channel).send_compressed(CompressionEncoding::Gzip);
        let asked = HealthCheckRequest { service: "ratelimit".to_owned() };
        assert!(health.check(asked).await.is_ok(), "{address}");
    }
}

#[tokio::test]
async fn each_encoding_has_its_answer() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let message = check("key", "each").encode_to_vec();
    let zipped = gzip(&message);
    let bomb = compressed(&vec![0; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let two = [compressed(&message), compressed(&message)].concat();
    // The first is a check that has no descriptor: the field of the domain alone.
    let members =
        [gzip(&message[..2 + usize::from(message[1])]), gzip(&message[2 + usize::from(message[1])..])].concat();
    let members = frame_of(1, members.len(), &members);
    let junk = [&zipped[..], b"junk"].concat();
    let junk = frame_of(1, junk.len(), &junk);
    let cases = [
        ("gzip", call("gzip", compressed(&message)), Some(Code::Ok), None),
        ("gzip, twice: the first counts", call("gzip", two), Some(Code::Ok), None),
        ("all members of a gzip count", call("gzip", members), Some(Code::Ok), None),
        ("junk behind", call("gzip", junk), Some(Code::Internal), None),
        ("gzip named, not used", call("gzip", frame(&message)), Some(Code::Ok), None),
        ("zstd named, not used", call("zstd", frame(&message)), Some(Code::Ok), None),
        ("identity", call("identity", frame(&message)), Some(Code::Ok), None),
        ("identity, but compressed", call("identity", compressed(&message)), Some(Code::Internal), None),
        ("cut off", call("gzip", frame_of(1, 20, &zipped[..20])), Some(Code::Internal), None),
        ("less than it says", call("gzip", frame_of(1, 1000, &zipped)), Some(Code::Internal), None),
        ("no message in it", call("gzip", compressed(b"\xff\xff")), Some(Code::InvalidArgument), None),
        ("nothing in it", call("gzip", compressed(b"")), Some(Code::InvalidArgument), None),
        ("deflate", call("deflate", compressed(&message)), Some(Code::Unimplemented), Some("gzip,identity")),
        ("zstd", call("zstd", compressed(&message)), Some(Code::Unimplemented), Some("gzip,identity")),
        ("the largest", call("gzip", compressed(&sized(4 << 20))), Some(Code::Ok), None),
        ("one byte more", call("gzip", compressed(&sized((4 << 20) + 1))), Some(Code::ResourceExhausted), None),
        ("a bomb", call("gzip", bomb), Some(Code::ResourceExhausted), None),
        ("a large one", call("gzip", frame_of(1, 5 << 20, &vec![0; 5 << 20])), Some(Code::ResourceExhausted), None),
    ];
    let mut wrong = Vec::new();
    for (what, call, code, accepted) in cases {
        let answer = call.make(&server.grpc).await;
        let expected = code.map(|code| i32::from(code).unsigned_abs());
        if (answer.status, answer.accepted.as_deref()) != (expected, accepted) {
            wrong.push(format!("{what}: {answer:?}"));
        }
        assert!(is_serving(&server.grpc).await, "{what}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Opens a stream on `requests`, and leaves it open behind `body`.
fn begin(requests: &mut h2::client::SendRequest<Bytes>, body: &Bytes) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let request = Request::post(format!("http://test{SHOULD_RATE_LIMIT}"))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip");
    let (answer, mut stream) = requests.send_request(request.body(()).unwrap(), false).unwrap();
    stream.send_data(body.clone(), false).unwrap();
    (answer, stream)
}

#[tokio::test]
async fn messages_whose_stream_stays_open_are_not_decompressed() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let stream = TcpStream::connect(&server.grpc).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let bomb: Bytes = compressed(&sized(4 << 20)).into();
    let before = server.resident_bytes();
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(begin(&mut requests, &bomb));
    }
    // What is answered on the same connection tells that the others have arrived.
    let (answer, mut end) = begin(&mut requests, &compressed(&check("key", "v").encode_to_vec()).into());
    end.send_data(Bytes::new(), true).unwrap();
    assert_eq!(receive(answer).await.status, Some(0));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "100 requests of 4 MiB that are not complete hold {grown} bytes");
    // They are checks like any other, once they are complete.
    let mut codes = Vec::new();
    for (answer, mut stream) in open.drain(..4) {
        stream.send_data(Bytes::new(), true).unwrap();
        let answer = receive(answer).await;
        assert_eq!(answer.status, Some(0), "{answer:?}");
        codes.push(RateLimitResponse::decode(&answer.body[5..]).unwrap().overall_code());
    }
    assert_eq!(codes, [Overall::Ok, Overall::Ok, Overall::OverLimit, Overall::OverLimit]);
    drop(open);
    running.abort();
}

#[tokio::test]
async fn answers_that_wait_do_not_hold_their_requests() {
    let queue = "domain: api\ndescriptors:\n\
                 - {key: key, rate_limit: {unit: hour, requests_per_unit: 1, algorithm: token_bucket, queue: 1000}}\n";
    let server = TestServer::start(queue, &[]);
    let stream = TcpStream::connect(&server.grpc).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let large: Bytes = compressed(&sized(4 << 20)).into();
    let before = server.resident_bytes();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let (answer, mut end) = begin(&mut requests, &large);
        end.send_data(Bytes::new(), true).unwrap();
        waiting.push(answer);
    }
    let delayed = async || server.metric("tidegate_delayed_replies") >= 49;
    eventually_async("49 delayed replies", delayed).await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "49 answers that wait hold {grown} bytes");
    drop(waiting);
    running.abort();
}
