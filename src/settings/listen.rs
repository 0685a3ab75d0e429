//! Addresses, worker threads and shutdown.

use std::thread::available_parallelism;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::duration;
use crate::net::{Address, FrontEnd};

/// Addresses, worker threads and shutdown.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenSettings {
    /// Address of the gRPC port: rate limit service, health, reflection
    ///
    /// HOST:PORT, where port 0 takes any free port, or unix:/PATH. Example: --grpc-addr unix:/run/tidegate.sock
    #[arg(long, env = "TIDEGATE_GRPC_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub grpc_addr: Address,

    /// Address of the HTTP port: /json, /healthcheck, /livez, /readyz, /metrics
    #[arg(long, env = "TIDEGATE_HTTP_ADDR", value_name = "HOST:PORT", default_value = "0.0.0.0:8080")]
    pub http_addr: Address,

    /// Address of the admin port: the dashboard at /, UsageService, AdminService, /rlconfig, /limits, probes, /metrics, health, reflection; keep it private
    #[arg(long, env = "TIDEGATE_ADMIN_ADDR", value_name = "HOST:PORT", default_value = "127.0.0.1:8082")]
    pub admin_addr: Address,

    /// Address of a port for the probes and /metrics alone, which the HTTP port then does not have
    ///
    /// So that a NetworkPolicy can let monitoring in without letting it check. Example: --metrics-addr 0.0.0.0:9090
    #[arg(long, env = "TIDEGATE_METRICS_ADDR", value_name = "HOST:PORT")]
    pub metrics_addr: Option<Address>,

    /// Path of the metrics on that port
    #[arg(long, env = "TIDEGATE_METRICS_PATH", value_name = "PATH", default_value = "/metrics", value_parser = metrics_path, requires = "metrics_addr")]
    pub metrics_path: String,

    /// Label of every series of the metrics, in addition to its own; can be repeated
    #[arg(long, env = "TIDEGATE_METRICS_LABEL", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = metrics_label)]
    pub metrics_label: Vec<(String, String)>,

    /// Address of a port that only shows: /rlconfig and /stats, as envoyproxy/ratelimit has it at 6070
    ///
    /// Everybody who reaches it sees the rules. If it cannot be bound, the service runs without it.
    #[arg(long, env = "TIDEGATE_DEBUG_ADDR", value_name = "HOST:PORT")]
    pub debug_addr: Option<Address>,

    /// The implementation of HTTP/2 on the gRPC port
    ///
    /// Both have the same bounds and give the same answers; lean costs less for each check, h2 is the way back.
    #[arg(long, env = "TIDEGATE_HTTP2", value_name = "FRONT_END", default_value = "lean", value_enum)]
    pub http2: FrontEnd,

    /// End connections to the gRPC port after about that time (GOAWAY), so that clients spread over new replicas [default: never]
    #[arg(long, env = "TIDEGATE_MAX_CONNECTION_AGE", value_name = "DURATION", value_parser = duration)]
    pub max_connection_age: Option<Duration>,

    /// How long such a connection may go on with checks that have begun
    #[arg(long, env = "TIDEGATE_MAX_CONNECTION_AGE_GRACE", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub max_connection_age_grace: Duration,

    /// Take listening sockets from systemd (socket activation) in place of binding the addresses
    ///
    /// By FileDescriptorName: grpc, http, admin, metrics; without names in this order. While the service restarts, connections wait in the
    /// sockets, which systemd keeps open.
    #[arg(long, env = "TIDEGATE_LISTEN_FDS", value_parser = BoolishValueParser::new())]
    pub listen_fds: bool,

    /// Take the place of the process that uses the data directory: its sockets, its counters, its bans
    ///
    /// That one answers what it has received and ends. No connection and no count is lost; use it to update without a gap. A process
    /// that is stopping after SIGTERM hands over without this flag, too.
    #[arg(long, env = "TIDEGATE_HAND_OVER", value_parser = BoolishValueParser::new())]
    pub hand_over: bool,

    /// Maximum number of connections on each port; further ones are accepted and closed at once
    ///
    /// When all are in use, a connection that has had no request for some seconds is closed for a new one. Raise it together with the limit
    /// on open files (ulimit -n).
    #[arg(long, env = "TIDEGATE_MAX_CONNECTIONS", value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Maximum number of connections on each port from one address; 0: as many as there are
    ///
    /// Of IPv6, from one network of 64 bits. Leave it off where clients share an address, as behind a proxy or a NAT.
    #[arg(long, env = "TIDEGATE_MAX_CONNECTIONS_PER_CLIENT", value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub max_connections_per_client: u32,

    /// Number of worker threads, each with its own connections [default: one per whole core of the CPU affinity and the control group's quota, at least one]
    #[arg(long, env = "TIDEGATE_WORKERS", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// How long to keep serving checks after SIGTERM, while health reports NOT_SERVING
    ///
    /// Make it longer than the clients' health check interval plus one second (Envoy propagates a change to its workers
    /// at most once a second). Example: --drain 10s
    #[arg(long, env = "TIDEGATE_DRAIN", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub drain: Duration,

    /// Time limit of a shutdown, from SIGTERM on: connections that are still open then are closed
    #[arg(long, env = "TIDEGATE_SHUTDOWN_DEADLINE", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub shutdown_deadline: Duration,
}

impl ListenSettings {
    /// The number of worker threads: one for a unix socket, because it has one listener.
    pub(crate) fn worker_count(&self) -> usize {
        let cores = || available_parallelism().map_or(1, usize::from);
        match &self.grpc_addr {
            Address::Unix(_) => 1,
            Address::Tcp(_) => self.workers.map_or_else(cores, usize::from),
        }
    }
}

fn metrics_path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let is_taken = ["/livez", "/readyz", "/healthcheck"].contains(&text);
    let is_path = text.starts_with('/') && text.chars().all(is_plain) && !is_taken;
    if is_path { Ok(text.to_owned()) } else { Err("expected a path such as /metrics".to_owned()) }
}

/// The names of labels as Prometheus has them; those of the metrics themselves would be there twice.
fn metrics_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let is_name =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || !is_name || name.starts_with("__") {
        return Err("expected NAME=VALUE, with a name of letters, digits and underscores".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
