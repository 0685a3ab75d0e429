//! Servers that decide nothing: each reads the request, and answers OK with a status for every descriptor. Their cost is that
//! of the transport; the additional cost of Tidegate is that of the decision.
//!
//! They do not use the settings of `tidegate::net`, so that changes there do not change the yardstick.

mod by_hand;
mod per_core;
mod service;

use std::net::{SocketAddr, TcpListener};

use clap::ValueEnum;
use socket2::{Domain, Socket, Type};
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tokio_stream::wrappers::TcpListenerStream;

/// The first argument with which this binary is a no-op server.
pub(crate) const ROLE: &str = "--no-op";

/// The kind of a no-op server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Build {
    /// tonic's server, on a runtime of several threads.
    Tonic,
    /// The generated service on hyper's connection, a current-thread runtime for each core.
    Hyper,
    /// Directly on the h2 crate, a current-thread runtime for each core.
    H2,
}

/// Serves for ever, on a free port, which it prints.
pub(crate) fn run(build: Build, workers: usize) {
    let listeners = listeners(if build == Build::Tonic { 1 } else { workers });
    println!("{}", listeners[0].local_addr().unwrap());
    match build {
        Build::Tonic => listeners.into_iter().for_each(|listener| tonic(listener, workers)),
        Build::Hyper => per_core::run(listeners, per_core::hyper),
        Build::H2 => per_core::run(listeners, by_hand::serve),
    }
}

fn tonic(listener: TcpListener, workers: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    runtime.block_on(async {
        let accepted = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let server = tonic::transport::Server::builder().add_service(service::NoOp);
        server.serve_with_incoming(accepted).await.unwrap();
    });
}

/// Sockets that share one port; the kernel distributes connections over them.
fn listeners(count: usize) -> Vec<TcpListener> {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut bind = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        // Connections inherit this from the listener.
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(4_096).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        socket.into()
    };
    (0..count).map(|_| bind()).collect()
}

/// The answer to everything.
fn answer(request: &RateLimitRequest) -> RateLimitResponse {
    let status = DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
    RateLimitResponse {
        overall_code: Code::Ok.into(),
        statuses: vec![status; request.descriptors.len()],
        ..RateLimitResponse::default()
    }
}

const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
/// The window of a connection, and of each of its streams.
const WINDOW_BYTES: u32 = 1 << 20;
