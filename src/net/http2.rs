//! The bounds of an HTTP/2 connection.

use std::time::Duration;

use clap::ValueEnum;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::http2::server::Limits;

/// The implementation of HTTP/2 on the gRPC port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FrontEnd {
    /// Our own, made for checks: the same bounds at a fraction of the cost
    #[default]
    Lean,
    /// The `h2` crate
    H2,
}

/// HTTP/2 for the ports that hyper serves; connections run on the caller's runtime.
pub(crate) fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        // It ends the process when the wall clock is before 1970 or after 9999.
        .auto_date_header(false)
        .max_concurrent_streams(MAX_PAGE_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_header_list_size(MAX_PAGE_HEADER_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// HTTP/2 for Envoy, without hyper; the code that drives the connection pings idle peers.
pub(crate) fn h2_builder() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(Some(MAX_RESETS))
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    builder
}

/// The same for our own connection.
pub(crate) fn lean_limits() -> Limits {
    Limits {
        streams: MAX_STREAMS,
        header_bytes: MAX_HEADER_BYTES,
        window: WINDOW_BYTES,
        stream_errors: u32::try_from(MAX_RESETS).unwrap_or(u32::MAX),
    }
}

/// Envoy opens up to 1024 streams at once by default (`max_requests`) and does not wait for the settings of a new
/// connection; each stream beyond the bound is an error that it does not retry. Four times that leaves room.
const MAX_STREAMS: u32 = 4096;

/// Whether the `h2` crate has ended the connection because of what the peer sent.
pub(crate) fn is_flood(error: &(dyn std::error::Error + 'static)) -> bool {
    let reason = error.downcast_ref::<h2::Error>().filter(|error| error.is_library()).and_then(h2::Error::reason);
    reason == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// Operators, scrapers and `/json` need far fewer.
const MAX_PAGE_STREAMS: u32 = 256;

/// Envoy resets each stream that times out, so after a pause of this process all open streams may have been reset. More than
/// this number in one read ends the connection, so it is twice the number of open streams.
const MAX_RESETS: usize = 2 * MAX_STREAMS as usize;

/// Envoy sends about 400 bytes, but clients may add cookies, tokens and tracing headers. A fail-open Envoy admits requests
/// whose check is rejected for its headers; its own bound for a request is 60 KiB, and this is twice that. The reference
/// service takes 16 MiB, which each connection could leave incomplete. The headers of a request count as incomplete requests
/// until it is complete; a peer that stops within a header block cannot answer a ping, and is disconnected after two of them.
const MAX_HEADER_BYTES: u32 = 128 << 10;

/// The same for operators and scrapers: no check is lost there, and their incomplete requests are not counted.
const MAX_PAGE_HEADER_BYTES: u32 = 64 << 10;

/// The window of a connection and of each of its streams. Checks are small: this is enough for hundreds.
const WINDOW_BYTES: u32 = 1 << 20;

/// The bytes that one stream buffers while its peer does not read. Only long streams reach this, and they wait.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// A peer that disappeared is disconnected after this time and [`PING_TIMEOUT`].
pub(crate) const PING_INTERVAL: Duration = Duration::from_mins(1);
/// How long an answer to a ping may take.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);
