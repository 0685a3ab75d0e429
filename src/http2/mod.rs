//! HTTP/2 (RFC 9113) and HPACK (RFC 7541) as pure functions on bytes: frames and header blocks, which the load generator and the server share,
//! and the server's side of a connection.

#[cfg_attr(not(feature = "bench"), allow(dead_code, reason = "the load generator uses all of it"))]
pub(crate) mod frame;
#[cfg_attr(not(feature = "bench"), allow(dead_code, reason = "the load generator uses all of it"))]
pub(crate) mod hpack;
pub(crate) mod huffman;
pub(crate) mod server;
