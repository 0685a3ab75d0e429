//! Header blocks between our own HTTP/2 connection and other encoders and decoders: those of nghttp2, as `scripts/header-blocks` has recorded them, and a
//! client on the `h2` crate.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod client;
mod recorded;
