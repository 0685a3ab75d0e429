//! Any bytes as configuration. The body is shared with `tests/fuzz_seeds.rs`.
#![no_main]

#[path = "../bodies/rules_yaml.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
