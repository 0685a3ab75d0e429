//! The parts of HTTP/2 (RFC 9113) and HPACK (RFC 7541) that a client of one method needs, as pure functions on bytes. The server looks at
//! frames, too.

#[cfg_attr(not(feature = "bench"), allow(dead_code, reason = "the load generator uses all of it"))]
pub(crate) mod frame;
#[cfg(feature = "bench")]
pub(crate) mod hpack;
#[cfg(feature = "bench")]
pub(crate) mod huffman;
