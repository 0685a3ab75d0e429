//! Any bytes as a file of `--admin-tokens`. The body is shared with `tests/fuzz_seeds.rs`.
#![no_main]

#[path = "../bodies/token_file.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
