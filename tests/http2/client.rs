//! A client on the `h2` crate, whose encoder and decoder are others than ours.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::fuzzed::Http2;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The headers of each request come back as they were sent, whatever the table of the client may hold.
#[tokio::test]
async fn random_headers_come_back() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for table_bytes in [0, 60, 110, 4_096, 1 << 20] {
        timeout(DEADLINE, connection(&mut random, table_bytes)).await.expect("all answers");
    }
}

/// 200 requests on one connection.
async fn connection(random: &mut SmallRng, table_bytes: u32) {
    let (client, server) = tokio::io::duplex(64 << 10);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(server));
    let mut builder = h2::client::Builder::new();
    builder.header_table_size(table_bytes);
    let (mut requests, connection) = builder.handshake::<_, Bytes>(client).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    for _ in 0..200 {
        let mut request = Request::post(format!("http://{}/{}", "ratelimit:8081", random.random_range(0..40)));
        let headers = request.headers_mut().unwrap();
        for _ in 0..random.random_range(0..12) {
            headers.append(name(random), value(random));
        }
        let request = request.body(()).unwrap();
        let sent = request.headers().clone();
        requests = requests.ready().await.unwrap();
        let (answer, _) = requests.send_request(request, true).unwrap();
        assert_eq!(*answer.await.unwrap().headers(), sent);
    }
}

async fn serve(mut wire: DuplexStream) {
    let (mut server, mut buffer) = (Http2::new(true), vec![0; 1_000]);
    loop {
        wire.write_all(&server.take_sent()).await.unwrap();
        let count = wire.read(&mut buffer).await.unwrap();
        if count == 0 {
            return;
        }
        server.receive(&buffer[..count]);
    }
}

/// One of the static table, one of few others, or any.
fn name(random: &mut SmallRng) -> HeaderName {
    const KNOWN: [&str; 10] = [
        "accept",
        "authorization",
        "cookie",
        "content-type",
        "date",
        "user-agent",
        "via",
        "x-request-id",
        "traceparent",
        "grpc-timeout",
    ];
    if random.random_range(0..4) > 0 {
        return HeaderName::from_static(KNOWN[random.random_range(0..KNOWN.len())]);
    }
    let letters = (0..random.random_range(1..30)).map(|_| random.random_range(b'a'..=b'z'));
    HeaderName::from_bytes(&[b"x-".to_vec(), letters.collect()].concat()).unwrap()
}

fn value(random: &mut SmallRng) -> HeaderValue {
    const KNOWN: [&str; 5] = ["", "trailers", "application/grpc", "gzip, deflate", "1"];
    if random.random_range(0..2) == 0 {
        return HeaderValue::from_static(KNOWN[random.random_range(0..KNOWN.len())]);
    }
    let longest = if random.random_range(0..8) == 0 { 900 } else { 40 };
    let bytes: Vec<u8> = (0..random.random_range(0..longest))
        .map(|_| random.random::<u8>())
        .map(|byte| if byte.is_ascii_control() { b'a' } else { byte })
        .collect();
    let mut value = HeaderValue::from_bytes(&bytes).unwrap();
    // What must not be in a table.
    value.set_sensitive(random.random_range(0..6) == 0);
    value
}

const DEADLINE: Duration = Duration::from_mins(1);
