//! Requests that no Envoy sends: each has a clear answer or a clean rejection, and the server is healthy after it.

use http::Method;
use prost::Message;
use tonic::Code;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code as Overall;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use crate::TestServer;
use crate::drain::check;
use crate::health::is_serving;
use crate::raw::{Call, frame, frame_of};

/// Two calls a year to each value of `key`, which no test run outlives.
const TWO_A_YEAR: &str = "domain: api\ndescriptors:\n- {key: key, rate_limit: {unit: year, requests_per_unit: 2}}\n";

fn request(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: domain.to_owned(), descriptors, ..RateLimitRequest::default() }
}

fn descriptor(entries: usize, value: &str) -> RateLimitDescriptor {
    let entry = Entry { key: "key".to_owned(), value: value.to_owned() };
    RateLimitDescriptor { entries: vec![entry; entries], ..RateLimitDescriptor::default() }
}

#[tokio::test]
async fn what_lacks_something_or_has_too_much_is_an_invalid_argument() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let one = descriptor(1, "v");
    let cases = [
        (request("", vec![one.clone()]), "rate limit domain must not be empty"),
        (request("", vec![]), "rate limit domain must not be empty"),
        (request("api", vec![]), "rate limit descriptor list must not be empty"),
        (request("api", vec![one.clone(); 10_000]), "descriptors in one check: at most 1000 are allowed"),
        (request("api", vec![one.clone(); 1_001]), "descriptors in one check: at most 1000 are allowed"),
        (request("api", vec![descriptor(101, "v")]), "entries in one descriptor: at most 100 are allowed"),
    ];
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for (request, message) in cases {
        let status = service.should_rate_limit(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
        assert!(is_serving(&server.grpc).await);
    }
    // Nothing of it was charged.
    let answer = service.should_rate_limit(request("api", vec![one.clone(), one])).await.unwrap().into_inner();
    assert_eq!(answer.overall_code(), Overall::Ok);
    // The most that is allowed.
    let most = request("api", vec![descriptor(100, "v"); 1_000]);
    assert_eq!(service.should_rate_limit(most).await.unwrap().into_inner().statuses.len(), 1_000);
}

#[tokio::test]
async fn calls_that_are_no_calls() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let message = request("api", vec![descriptor(1, "v")]).encode_to_vec();
    let good = Call::new(frame(&message));
    let content_type = |value| Call { headers: vec![("content-type", value), ("te", "trailers")], ..good.clone() };
    let gzip = [&good.headers[..], &[("grpc-encoding", "gzip")]].concat();
    let compressed = Call { headers: gzip.clone(), ..Call::new(frame_of(1, message.len(), &message)) };
    let path = |path| Call { path, ..good.clone() };
    let cases = [
        // What is a check is decided, whatever the headers say of it.
        ("good", good.clone(), 200, Some(Code::Ok)),
        (
            "garbage",
            Call::new(frame(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
            200,
            Some(Code::InvalidArgument),
        ),
        ("cut off", Call::new(frame(&message[..message.len() - 1])), 200, Some(Code::InvalidArgument)),
        ("an endless group", Call::new(frame(&[0x0b; 1000])), 200, Some(Code::InvalidArgument)),
        ("no frame", Call::new(Vec::new()), 200, Some(Code::Internal)),
        ("half a frame's head", Call::new(vec![0; 3]), 200, Some(Code::Internal)),
        ("a frame longer than its content", Call::new(frame_of(0, 1000, &message)), 200, Some(Code::Internal)),
        ("a frame of 4 GiB", Call::new(frame_of(0, 0xffff_ffff, &message)), 200, Some(Code::OutOfRange)),
        ("two messages", Call::new([frame(&message), frame(&message)].concat()), 200, Some(Code::Ok)),
        ("compressed, by nothing", Call::new(frame_of(1, message.len(), &message)), 200, Some(Code::Internal)),
        ("compressed, by gzip, but no gzip", compressed, 200, Some(Code::Internal)),
        ("not compressed, though gzip is named", Call { headers: gzip, ..good.clone() }, 200, Some(Code::Ok)),
        ("an unknown flag", Call::new(frame_of(7, message.len(), &message)), 200, Some(Code::Internal)),
        ("another content", content_type("application/json"), 200, Some(Code::Ok)),
        ("no content type", Call { headers: vec![], ..good.clone() }, 200, Some(Code::Ok)),
        ("protobuf named", content_type("application/grpc+proto"), 200, Some(Code::Ok)),
        ("GET", Call { method: Method::GET, ..good.clone() }, 200, Some(Code::Ok)),
        (
            "an unknown method",
            path("/envoy.service.ratelimit.v3.RateLimitService/Nope"),
            200,
            Some(Code::Unimplemented),
        ),
        ("an unknown service", path("/nope/ShouldRateLimit"), 200, Some(Code::Unimplemented)),
        (
            "a longer path",
            path("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit/"),
            200,
            Some(Code::Unimplemented),
        ),
        ("an escaped path", path("/%00%ff/..//x?y=z"), 200, Some(Code::Unimplemented)),
        ("the root", path("/"), 200, Some(Code::Unimplemented)),
    ];
    let mut wrong = Vec::new();
    for (what, call, http, code) in cases {
        let answer = call.make(&server.grpc).await;
        let expected = code.map(|code| i32::from(code).unsigned_abs());
        if (answer.http, answer.status) != (http, expected) {
            wrong.push(format!("{what}: {answer:?}"));
        }
        assert!(is_serving(&server.grpc).await, "{what}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A fail-open Envoy would let everything pass that is answered with an error.
#[tokio::test]
async fn bytes_that_are_no_text_are_limited() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    for value in [&b"\xff"[..], b"a\xc3(", b"\0", b"\xed\xa0\x80"] {
        let mut message = request("api", vec![descriptor(1, &"?".repeat(value.len()))]).encode_to_vec();
        let at = message.len() - value.len();
        message[at..].copy_from_slice(value);
        let mut codes = Vec::new();
        for _ in 0..3 {
            let answer = Call::new(frame(&message)).make(&server.grpc).await;
            assert_eq!(answer.status, Some(0), "{value:?}: {answer:?}");
            codes.push(RateLimitResponse::decode(&answer.body[5..]).unwrap().overall_code());
        }
        assert_eq!(codes, [Overall::Ok, Overall::Ok, Overall::OverLimit], "{value:?}");
    }
}

#[tokio::test]
async fn a_request_of_4_mib_is_the_largest() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let sized = |bytes: usize| {
        let empty = request("api", vec![descriptor(1, "")]).encoded_len();
        let mut request = request("api", vec![descriptor(1, &"x".repeat(bytes - empty))]);
        while request.encoded_len() > bytes {
            request.descriptors[0].entries[0].value.pop();
        }
        assert_eq!(request.encoded_len(), bytes);
        request
    };
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for overall in [Overall::Ok, Overall::Ok, Overall::OverLimit] {
        let answer = service.should_rate_limit(sized(4 << 20)).await.unwrap().into_inner();
        assert_eq!(answer.overall_code(), overall, "limited, not rejected");
    }
    let status = service.should_rate_limit(sized((4 << 20) + 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(is_serving(&server.grpc).await);
}

#[tokio::test]
async fn values_of_a_mebibyte_are_limited_and_cost_no_more_memory_than_short_ones() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let long = "x".repeat(1 << 20);
    let mut ask = async |i: u32| {
        let answer = service.should_rate_limit(check("key", &format!("{long}{i}"))).await.unwrap();
        answer.into_inner().overall_code()
    };
    for i in 0..10 {
        assert_eq!(ask(i).await, Overall::Ok);
    }
    let resident = server.resident_bytes();
    for i in 10..100 {
        assert_eq!(ask(i).await, Overall::Ok);
    }
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 32 << 20, "90 requests of 1 MiB left {grown} bytes behind");
    for expected in [Overall::Ok, Overall::OverLimit] {
        assert_eq!(ask(50).await, expected);
    }
    assert_eq!(server.metric("tidegate_counters"), 100);
    let bytes = server.metric("tidegate_counter_bytes");
    assert!(bytes < 100 * 300, "{bytes}");
}

#[tokio::test]
async fn long_values_become_no_metrics() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let long = "x".repeat(1 << 20);
    for i in 0..20 {
        let mut own = check("key", &format!("{i}{long}"));
        own.descriptors[0].limit = Some(RateLimitOverride { requests_per_unit: 2, unit: 6, unit_multiplier: None });
        service.should_rate_limit(own).await.unwrap();
        let elsewhere = RateLimitRequest { domain: format!("{i}{long}"), ..check("key", "v") };
        service.should_rate_limit(elsewhere).await.unwrap();
    }
    let text = server.http("GET", "/metrics", b"").1;
    assert!(text.len() < 32 << 10, "{} bytes", text.len());
    assert_eq!(server.metric(r#"ratelimit_service_rate_limit_total_hits{domain="other",rule="other"}"#), 20);
    assert_eq!(server.metric(r#"ratelimit_service_rate_limit_domain_not_found{domain="other"}"#), 20);
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_limited_one_by_one() {
    let server = TestServer::start(TWO_A_YEAR, &[]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for (round, expected) in [Overall::Ok, Overall::Ok, Overall::OverLimit].into_iter().enumerate() {
        for batch in 0..100 {
            let descriptors = (0..1000).map(|i| descriptor(1, &format!("{batch}-{i}"))).collect();
            let answer = service.should_rate_limit(request("api", descriptors)).await.unwrap().into_inner();
            assert_eq!(answer.overall_code(), expected, "round {round}, batch {batch}");
            assert!(
                answer.statuses.iter().all(|status| i32::from(status.code() == Overall::OverLimit)
                    == i32::from(expected == Overall::OverLimit))
            );
        }
    }
    assert_eq!(server.metric("tidegate_counters"), 100_000);
    let bytes = server.metric("tidegate_counter_bytes");
    assert!(bytes < 100_000 * 100, "{bytes}");
    assert!(is_serving(&server.grpc).await);
}

#[tokio::test]
async fn keys_beyond_the_memory_are_denied_and_those_before_it_keep_their_counts() {
    let server = TestServer::start(TWO_A_YEAR, &["--counter-memory", "1MiB"]);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let mut ask =
        async |value: &str| service.should_rate_limit(check("key", value)).await.unwrap().into_inner().overall_code();
    assert_eq!(ask("first").await, Overall::Ok);
    for batch in 0..50 {
        let descriptors = (0..1000).map(|i| descriptor(1, &format!("{batch}-{i}"))).collect();
        RateLimitServiceClient::new(server.channel().await)
            .should_rate_limit(request("api", descriptors))
            .await
            .unwrap();
    }
    assert_eq!(ask("new").await, Overall::OverLimit);
    assert_eq!(ask("first").await, Overall::Ok);
    assert_eq!(ask("first").await, Overall::OverLimit);
    assert!(server.metric("tidegate_counter_bytes") <= (1 << 20) * 11 / 10);
    assert!(server.metric("tidegate_new_keys_denied_total") > 10_000);
    assert!(is_serving(&server.grpc).await);
}
