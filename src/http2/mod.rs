//! The parts of HTTP/2 (RFC 9113) and HPACK (RFC 7541) that a client of one method needs, as pure functions on bytes.

pub(crate) mod frame;
pub(crate) mod hpack;
pub(crate) mod huffman;
