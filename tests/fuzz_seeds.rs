//! The seeds of the fuzz targets, through the bodies of the targets: what a fuzzer checks, without one.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/bodies/access_file.rs"]
mod access_file;
#[path = "../fuzz/bodies/certificates.rs"]
mod certificates;
#[path = "../fuzz/bodies/check_decision.rs"]
mod check_decision;
#[path = "../fuzz/bodies/http2_differential.rs"]
mod http2_differential;
#[path = "../fuzz/bodies/http2_frames.rs"]
mod http2_frames;
#[path = "../fuzz/bodies/rules_yaml.rs"]
mod rules_yaml;
#[path = "../fuzz/bodies/token_file.rs"]
mod token_file;

/// Plays every seed of a target, and each of them cut short in some places.
fn replay(target: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let paths: Vec<_> = fs::read_dir(&seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(!paths.is_empty(), "no seeds in {}", seeds.display());
    for path in paths {
        let seed = fs::read(&path).unwrap();
        println!("{}", path.display());
        for eighths in 0..=8 {
            run(&seed[..seed.len() * eighths / 8]);
        }
    }
}

#[test]
fn check_decision() {
    replay("check_decision", check_decision::run);
}

#[test]
fn rules_yaml() {
    replay("rules_yaml", rules_yaml::run);
}

#[test]
fn token_file() {
    replay("token_file", token_file::run);
}

#[test]
fn access_file() {
    replay("access_file", access_file::run);
}

#[test]
fn certificates() {
    replay("certificates", certificates::run);
}

#[test]
fn http2_frames() {
    replay("http2_frames", http2_frames::run);
}

#[test]
fn http2_differential() {
    // Each input of the one is one of the other.
    replay("http2_differential", http2_differential::run);
    replay("http2_frames", http2_differential::run);
}
