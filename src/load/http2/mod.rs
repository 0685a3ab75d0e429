//! As much of HTTP/2 (RFC 9113) and HPACK (RFC 7541) as a client of one method needs, on bytes alone.

pub(super) mod frame;
pub(super) mod hpack;
pub(super) mod huffman;
pub(super) mod verdict;
