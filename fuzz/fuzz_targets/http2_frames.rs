//! Frames of HTTP/2, as a client sends them. The body is shared with `tests/fuzz_seeds.rs`.
#![no_main]

#[path = "../bodies/http2_frames.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
