//! The seeds of the fuzz targets, through the bodies of the targets: what a fuzzer checks, without one.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::{env, fs};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

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

/// Requests whose headers fill tables, shrink them and refer to them, and frames around them. `FUZZ_INPUTS=1000000 FUZZ_SEED=2` plays more, and others.
#[test]
fn http2_random_headers() {
    let number = |name: &str| env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let (count, seed) = (number("FUZZ_INPUTS").unwrap_or(1_000), number("FUZZ_SEED").unwrap_or(1));
    let mut random = SmallRng::seed_from_u64(seed);
    for index in 0..count {
        let input = random_headers(&mut random);
        let played = std::panic::catch_unwind(|| {
            http2_frames::run(&input);
            http2_differential::run(&input);
        });
        assert!(played.is_ok(), "input {index} of seed {seed}: {}", input.escape_ascii());
    }
}

/// An input of `http2_frames`: mostly whole requests on streams that follow each other, now and then another frame.
fn random_headers(random: &mut SmallRng) -> Vec<u8> {
    let mut input = vec![random.random()];
    let mut stream = 1;
    for _ in 0..random.random_range(1..12) {
        if random.random_range(0..6) == 0 {
            let payload: Vec<u8> = (0..random.random_range(0..9)).map(|_| random.random_range(0..3)).collect();
            let kinds = [0, 2, 3, 4, 6, 8];
            let kind = kinds[random.random_range(0..kinds.len())];
            input.extend_from_slice(&[kind, random.random_range(0..2), random.random_range(0..=stream)]);
            input.push(u8::try_from(payload.len()).unwrap());
            input.extend_from_slice(&payload);
            continue;
        }
        // What makes a request of it comes first, and before that what must come first.
        let mut block = Vec::new();
        for _ in 0..random.random_range(0..5_u8).saturating_sub(2) {
            block.extend_from_slice(&[5, random.random_range(0..242)]);
        }
        block.push(0);
        for _ in 0..random.random_range(0..8) {
            match random.random_range(0..20) {
                // The latest entries of the table.
                0..6 => block.extend_from_slice(&[1, random.random_range(62..68)]),
                6..8 => block.extend_from_slice(&[1, random.random_range(15..62)]),
                8..11 => {
                    block.extend_from_slice(&[2, random.random_range(62..68) << 1, random.random(), random.random()]);
                }
                11..17 => block.extend_from_slice(&[
                    random.random_range(2..5),
                    random.random::<u8>() | 1,
                    random.random(),
                    random.random(),
                ]),
                17..19 => block.push(6),
                _ => block.extend_from_slice(&[random.random_range(0..8), random.random()]),
            }
        }
        input.extend_from_slice(&[
            0xf0,
            random.random_range(0..8_u8).min(1),
            stream,
            u8::try_from(block.len()).unwrap(),
        ]);
        input.extend_from_slice(&block);
        stream += if random.random_range(0..8) == 0 { 0 } else { 2 };
    }
    input
}
