//! Reading requests and writing answers, compared with prost's decoding and encoding of the same messages.

use std::hint::black_box;

use prost::Message;
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tidegate::api::rls::{self, ResponseParts};
use tidegate::limiter::{Check, Decision, WorkerSlot};

use crate::Scale;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, NOW, PER_HOUR, Values, encoded, limiter, one_rule, time};

/// Descriptors of a message.
const SIZES: [usize; 3] = [1, 4, 8];

pub(crate) fn run(scale: Scale) {
    println!("a message in ns, each descriptor with three entries of 32 bytes; median (least to most):");
    for descriptors in SIZES {
        let requests: Vec<_> = (0..BATCH).map(|n| request(n, descriptors)).collect();
        let read = in_turns(scale.rounds, 2, |i| {
            typical(scale, || match i {
                0 => requests.iter().for_each(|request| drop(black_box(rls::read(black_box(request)).unwrap()))),
                _ => requests
                    .iter()
                    .for_each(|request| drop(black_box(RateLimitRequest::decode(black_box(&request[..])).unwrap()))),
            })
        });
        report("read", descriptors, &read);
        let written = writes(scale, &requests);
        report("write", descriptors, &written);
    }
}

fn writes(scale: Scale, requests: &[Vec<u8>]) -> Vec<Vec<f64>> {
    let limiter = limiter(one_rule(PER_HOUR));
    let view = limiter.view().unwrap();
    let checks: Vec<Check<'_>> = requests.iter().map(|request| rls::read(request).unwrap()).collect();
    let decisions: Vec<_> = checks.iter().map(|check| view.check(WorkerSlot(0), NOW, check)).collect();
    let messages: Vec<_> =
        decisions.iter().map(|decision| RateLimitResponse::decode(&written(decision)[..]).unwrap()).collect();
    assert!(messages.iter().zip(requests).all(|(answer, request)| {
        answer.statuses.len() == RateLimitRequest::decode(&request[..]).unwrap().descriptors.len()
    }));
    in_turns(scale.rounds, 2, |i| {
        typical(scale, || match i {
            0 => decisions.iter().for_each(|decision| drop(black_box(written(black_box(decision))))),
            _ => messages.iter().for_each(|message| drop(black_box(black_box(message).encode_to_vec()))),
        })
    })
}

/// With the initial capacity that the server allocates for an answer.
fn written(decision: &Decision<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    rls::write(&mut out, decision, &ResponseParts::default(), None);
    out
}

/// Nanoseconds per message, from the median batch.
fn typical(scale: Scale, mut batch: impl FnMut()) -> f64 {
    let batches = (0..scale.checks.div_ceil(BATCH)).map(|_| time(&mut batch) as f64 / BATCH as f64);
    Spread::new(batches.collect()).median()
}

fn report(what: &str, descriptors: usize, ns: &[Vec<f64>]) {
    let [own, prost] = [0, 1].map(|i| Spread::new(ns[i].clone()));
    println!("  {what}, {descriptors} descriptor(s): {own}, prost {prost}, ratio {}", Spread::ratio(&ns[0], &ns[1]));
}

/// A request whose descriptors have different counters.
fn request(n: usize, descriptors: usize) -> Vec<u8> {
    let all: Vec<_> = (0..descriptors)
        .map(|descriptor| {
            let mut values = Values::default();
            values.set(n * descriptors + descriptor);
            values
        })
        .collect();
    let mut check = all[0].check();
    for values in &all[1..] {
        check.descriptors.extend(values.check().descriptors);
    }
    encoded(&check)
}
