//! Clients of gRPC and HTTP/2 that others have made, each on both front ends of the gRPC port.
//!
//! grpc-go, grpcio (gRPC's C core) and tonic do the same by the same commands; grpcurl, curl and h2load are what they are. `./test` installs
//! them and names them in variables. Without one of them, its tests say `SKIPPED` and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod bodies;
mod calls;
mod commands;
mod curl;
mod endings;
mod grpcurl;
mod h2load;
mod program;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod server;
mod tonic_client;

/// The implementations of HTTP/2 on the gRPC port.
pub(crate) const FRONT_ENDS: [&str; 2] = ["lean", "h2"];

/// `free` is admitted, of `few` there are two, those of `turn` wait for a tenth of a second each, and those of `never` for an hour.
pub(crate) const RULES: &str = "domain: api
descriptors:
- {key: free, rate_limit: {unit: year, requests_per_unit: 100000000}}
- {key: few, rate_limit: {unit: year, requests_per_unit: 2}}
- {key: turn, rate_limit: {requests_per_unit: 10, period: 1s, algorithm: token_bucket, burst: 1, queue: 100}}
- {key: never, rate_limit: {requests_per_unit: 1, period: 1h, algorithm: token_bucket, queue: 100}}
";

/// Checks of this key that have arrived, delayed ones too.
pub(crate) fn arrived(server: &server::TestServer, key: &str) -> u64 {
    server.metric(&format!(r#"ratelimit_service_rate_limit_total_hits{{domain="api",rule="api.{key}",key1="{key}"}}"#))
}

/// Waits until so many answers are delayed.
#[track_caller]
pub(crate) fn until_delayed(server: &server::TestServer, count: u64) {
    server::eventually(&format!("{count} delayed replies"), || server.metric("tidegate_delayed_replies") == count);
}
