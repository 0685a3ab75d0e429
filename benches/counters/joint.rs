//! A check of many descriptors, charged in one step, compared with the same check charged descriptor by descriptor.

use std::borrow::Cow;

use tidegate::limiter::{Check, Descriptor, Limiter, WorkerSlot};
use tidegate::rules::Entry;

use crate::Scale;
use crate::numbers::{Spread, in_turns};
use crate::traffic::{NOW, limiter, rules, time};

/// Descriptors of a check, up to the maximum.
const SIZES: [usize; 4] = [1, 10, 100, 1_000];
/// Limits of each descriptor.
const LIMITS: usize = 5;

pub(crate) fn run(scale: Scale) {
    let limits: Vec<_> =
        (1..=LIMITS).map(|days| format!("{{period: {days}d, requests_per_unit: 4000000000}}")).collect();
    let list = format!("- {{key: a, rate_limits: [{}]}}\n", limits.join(", "));
    let independent = limiter(rules(&list));
    let joint = limiter(rules(&format!("{list}charge: all_or_nothing\n")));
    println!("{LIMITS} limits a descriptor, us a descriptor, all or nothing, and ratio to one by one:");
    for size in SIZES {
        let check = check(size);
        let rounds = in_turns(scale.rounds + 1, 2, |case| {
            let limiter = if case == 0 { &independent } else { &joint };
            let repeat = (scale.checks / 40 / size).max(1);
            time(|| (0..repeat).for_each(|_| decide(limiter, &check))) as f64 / (repeat * size) as f64 / 1e3
        });
        // The first round creates the counters.
        let rounds: Vec<_> = rounds.iter().map(|rounds| rounds[1..].to_vec()).collect();
        println!("  {size:>6}: {}, ratio {}", Spread::new(rounds[1].clone()), Spread::ratio(&rounds[1], &rounds[0]));
    }
}

fn check(size: usize) -> Check<'static> {
    let descriptor = |i: usize| {
        let entry = Entry { key: Cow::Borrowed("a"), value: Cow::Owned(format!("value-{i}")) };
        Descriptor { entries: [entry].into_iter().collect(), ..Descriptor::default() }
    };
    Check { domain: Cow::Borrowed("api"), descriptors: (0..size).map(descriptor).collect(), ..Check::default() }
}

fn decide(limiter: &Limiter, check: &Check<'_>) {
    std::hint::black_box(limiter.view().unwrap().check(WorkerSlot(0), NOW, check));
}
