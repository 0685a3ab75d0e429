//! The bounds of an HTTP/2 connection.

use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// HTTP/2 as operators' tools need it, for hyper; connections run on the caller's runtime.
pub(crate) fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_header_list_size(MAX_PAGE_HEADER_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// HTTP/2 as Envoy needs it, without hyper between; who drives the connection pings an idle peer.
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

/// Envoy opens up to 1024 streams at once by default (`max_requests`) and does not wait for the settings of a new
/// connection; each stream beyond the bound is an error that it does not retry. Four times that leaves room.
const MAX_STREAMS: u32 = 4096;

/// Envoy resets each stream that times out. After a pause of this process all that were open may have been reset, and
/// more than this number, in one read, would end the connection: as many as may be open, twice over.
const MAX_RESETS: usize = 2 * MAX_STREAMS as usize;

/// Envoy sends about 400 bytes, but a client may add whatever it has: cookies, tokens, tracing. A check that is rejected for
/// its headers passes a fail-open Envoy, whose own bound for a request is 60 KiB: this is twice that. The reference service
/// takes 16 MiB, which each connection could leave unfinished. Until a request is complete its headers are counted with the
/// incomplete requests; a peer that stops within a header block cannot answer a ping, and is gone after two of them.
const MAX_HEADER_BYTES: u32 = 128 << 10;

/// The same where operators and scrapers ask: no check is lost there, and nobody counts what they leave unfinished.
const MAX_PAGE_HEADER_BYTES: u32 = 64 << 10;

/// What one connection, and each of its streams, may send before it is read. Checks are small: this holds hundreds.
const WINDOW_BYTES: u32 = 1 << 20;

/// What one stream buffers beyond what its peer is ready to take. Only long streams get there, and they wait.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// A peer that vanished without a word frees its slot after the two together.
pub(crate) const PING_INTERVAL: Duration = Duration::from_mins(1);
/// How long an answer to a ping may take.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);
