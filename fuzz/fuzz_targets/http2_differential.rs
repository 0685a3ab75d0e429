//! The same frames to our own HTTP/2 connection and to the `h2` crate. The body is shared with `tests/fuzz_seeds.rs`.
#![no_main]

#[path = "../bodies/http2_differential.rs"]
mod body;
#[path = "../bodies/http2_frames.rs"]
mod http2_frames;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
