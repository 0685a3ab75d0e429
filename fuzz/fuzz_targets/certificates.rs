//! Any bytes as the PEM files of a port. The body is shared with `tests/fuzz_seeds.rs`.
#![no_main]

#[path = "../bodies/certificates.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
