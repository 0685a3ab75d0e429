//! As much of HTTP/2 (RFC 9113) and HPACK (RFC 7541) as a client of one method needs, on bytes alone.

pub(crate) mod frame;
pub(crate) mod hpack;
pub(crate) mod huffman;
