//! Matching and deciding with a growing number of rules in a domain, over the same number of counters.

use std::fmt::Write;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::rules::RuleSet;

use crate::Scale;
use crate::decisions::checks;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{BATCH, PER_HOUR, Values, limiter, rules, time};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// The cases: the number of rules, and of those that the traffic matches.
const CASES: [(usize, usize); 4] = [(10, 10), (1_000, 1_000), (10_000, 10_000), (10_000, 10)];

/// The number of counters in all; every rule has some.
const COUNTERS: usize = 100_000;

pub(crate) fn run(scale: Scale) {
    let counters = COUNTERS.min(scale.counters);
    let limiters = SIZES.map(partners);
    let mut values = vec![Values::default(); BATCH];
    let rounds = in_turns(scale.rounds + 1, CASES.len(), |case| {
        let (size, met) = CASES[case];
        let limiter = &limiters[SIZES.iter().position(|&known| known == size).unwrap()];
        let mut random = SmallRng::seed_from_u64(3);
        let batches = (0..scale.checks / BATCH).map(|_| {
            for values in &mut values {
                values.set_among(random.random_range(0..counters), met);
            }
            checks(limiter, WorkerSlot(0), &values) as f64
        });
        Spread::new(batches.collect()).median() / BATCH as f64
    });
    // The first round creates the counters.
    let rounds: Vec<_> = rounds.iter().map(|rounds| rounds[1..].to_vec()).collect();
    println!("match and decide, {counters} counters, ns each and ratio to {} rules:", SIZES[0]);
    for ((size, met), ns) in CASES.iter().zip(&rounds) {
        println!(
            "  {size:>6} rules, {met:>6} in use: {}, ratio {}",
            Spread::new(ns.clone()),
            Spread::ratio(ns, &rounds[0])
        );
    }
}

/// A limiter with a rule for each of `size` partners.
fn partners(size: usize) -> Limiter {
    let mut loaded = None;
    let ns = time(|| loaded = Some(limiter(rules_of_partners(size))));
    println!("{size} rules load in {:.1} ms", ns as f64 / 1e6);
    loaded.unwrap()
}

/// A rule for each of `size` partners.
pub(crate) fn rules_of_partners(size: usize) -> RuleSet {
    let mut text = String::new();
    for n in 0..size {
        write!(
            text,
            "- key: partner\n  value: partner-{n:04}\n  descriptors:\n  - key: endpoint\n    descriptors:\n    - key: tenant\n      rate_limit: {{{PER_HOUR}}}\n"
        )
        .unwrap();
    }
    rules(&text)
}
