//! Peers that wear the server down, while others ask and get the right answers.

mod clock;
mod connections;
mod floods;
mod legitimate;
mod measured;
mod memory;
mod metrics_text;

use crate::TestServer;

/// How many connections the gRPC port has closed for this reason.
fn closed(server: &TestServer, port: &str, reason: &str) -> u64 {
    server.metric(&format!(r#"tidegate_connections_closed_total{{port="{port}",reason="{reason}"}}"#))
}
