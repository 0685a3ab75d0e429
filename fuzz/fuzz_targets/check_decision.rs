//! Any bytes as checks at instants. The body is shared with `tests/fuzz_seeds.rs`.
#![no_main]

#[path = "../bodies/check_decision.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
