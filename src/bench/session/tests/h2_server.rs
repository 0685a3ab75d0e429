//! A session with the HTTP/2 server that most Rust gRPC servers use.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{Client, message};
use crate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use crate::bench::Pace;
use crate::bench::failure::Failure;

/// Moves bytes between a session and a server until all checks are answered.
async fn talk(client: &mut Client, mut stream: DuplexStream, checks: u64) {
    let (mut buffer, mut filled) = (vec![0; 64 << 10], 0);
    while client.stats.checks() < checks {
        client.fill(client.stats.checks());
        let pending = client.session.pending().to_vec();
        stream.write_all(&pending).await.unwrap();
        client.session.sent(pending.len());
        let count = stream.read(&mut buffer[filled..]).await.unwrap();
        assert_ne!(count, 0, "the server closed the connection");
        filled += count;
        let taken = client.receive(&buffer[..filled], client.stats.checks()).unwrap();
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
}

/// Answers in rotation: admitted, denied, denied in pieces, rejected, reset, an HTTP error.
async fn serve(stream: DuplexStream, builder: h2::server::Builder) {
    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let mut number = 0_u32;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let turn = number % 6;
        number += 1;
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            assert_eq!((head.method.as_str(), head.uri.scheme_str()), ("POST", Some("http")));
            assert_eq!(head.uri.path(), "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
            assert_eq!(head.uri.authority().unwrap().as_str(), "host:1");
            assert_eq!(
                (&head.headers["content-type"], &head.headers["te"]),
                (&"application/grpc".parse().unwrap(), &"trailers".parse().unwrap())
            );
            assert_eq!(head.headers.len(), 2);
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                // The client closes the connection when it is finished.
                let Ok(data) = data else { return };
                body.flow_control().release_capacity(data.len()).unwrap();
                bytes.extend_from_slice(&data);
            }
            let check = RateLimitRequest::decode(&bytes[5..]).unwrap();
            assert_eq!((check.domain.as_str(), check.descriptors[0].entries.len()), ("bench", 3));
            let response =
                |status: u16| http::Response::builder().status(status).header("date", format!("day {number}"));
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "14".parse().unwrap());
            trailers.insert("grpc-message", "come%20back later".parse().unwrap());
            match turn {
                3 => {
                    let mut failed = response(200).body(()).unwrap();
                    failed.headers_mut().extend(trailers);
                    respond.send_response(failed, true).unwrap();
                }
                4 => respond.send_reset(h2::Reason::REFUSED_STREAM),
                5 => drop(respond.send_response(response(503).body(()).unwrap(), true).unwrap()),
                _ => {
                    let mut body = respond.send_response(response(200).body(()).unwrap(), false).unwrap();
                    let whole = Bytes::from(message(if turn == 0 { 1 } else { 2 }));
                    let pieces = if turn == 2 { 3 } else { whole.len() };
                    for piece in whole.chunks(pieces) {
                        body.send_data(whole.slice_ref(piece), false).unwrap();
                    }
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    body.send_trailers(trailers).unwrap();
                }
            }
        });
    }
}

async fn talk_to_h2(streams: usize, descriptors: usize, checks: u64, builder: h2::server::Builder) {
    let mut client = Client::new(streams, Pace::Closed, descriptors);
    let (mine, its) = duplex(1 << 20);
    let server = tokio::spawn(serve(its, builder));
    tokio::time::timeout(Duration::from_mins(1), talk(&mut client, mine, checks)).await.unwrap();
    server.abort();
    let errors = server.await.unwrap_err();
    assert!(errors.is_cancelled(), "{errors}");
    let each = checks / 6;
    let near = |count: u64| count + streams as u64 >= each && count <= each + streams as u64;
    assert!(near(client.stats.ok) && near(client.stats.over_limit / 2), "{:?}", client.stats.failures);
    let failures = client.failures();
    let expected = [(Failure::Grpc(14), "come back later"), (Failure::Http(503), ""), (Failure::Reset(7), "")];
    assert_eq!(failures.iter().map(|(failure, _, said)| (*failure, *said)).collect::<Vec<_>>(), expected);
    assert!(failures.iter().all(|(_, count, _)| near(*count)), "{failures:?}");
}

#[tokio::test]
async fn an_h2_server_is_understood() {
    talk_to_h2(20, 1, 600, h2::server::Builder::new()).await;
}

#[tokio::test]
async fn an_h2_server_with_narrow_bounds_is_understood() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(3).initial_window_size(100).max_frame_size(20_000).header_table_size(0);
    talk_to_h2(20, 400, 240, builder).await;
}
