//! The cost of a search with a growing number of rules in a domain, which must stay the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]
#![allow(clippy::cast_precision_loss, clippy::indexing_slicing, clippy::format_push_string)]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::rules::{Entry, LoadOptions, RuleSet, SourceFile, load};

/// The number of rules in the domain; the others are compared with the first.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// The number of searches to measure a ratio.
const ROUNDS: usize = 200_000;

/// One form of many rules: the value of a rule, and the value of an entry that it matches.
struct Shape {
    name: &'static str,
    configured: fn(usize) -> String,
    requested: fn(usize) -> String,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "exact", configured: |n| format!("value-{n}"), requested: |n| format!("value-{n}") },
    Shape { name: "wildcard", configured: |n| format!("/path-{n}/*"), requested: |n| format!("/path-{n}/some/item") },
];

fn rules(shape: &Shape, size: usize) -> RuleSet {
    let mut text = "domain: d\ndescriptors:\n".to_owned();
    for n in 0..size {
        let value = (shape.configured)(n);
        text += &format!("- {{key: k, value: '{value}', rate_limit: {{unit: second, requests_per_unit: 1}}}}\n");
    }
    let file = SourceFile { name: "bench".to_owned(), text: text.into_bytes() };
    load(&[file], LoadOptions::default()).unwrap()
}

/// Entries that match rules from all parts of the domain.
fn requests(shape: &Shape, size: usize) -> Vec<[Entry<'static>; 1]> {
    let value = |n: usize| Cow::Owned((shape.requested)(n * 7_919 % size));
    (0..64).map(|n| [Entry { key: Cow::Borrowed("k"), value: value(n) }]).collect()
}

fn matching(c: &mut Criterion) {
    for shape in &SHAPES {
        let mut group = c.benchmark_group(shape.name);
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
        for size in SIZES {
            let set = rules(shape, size);
            let requests = requests(shape, size);
            let domain = set.domain("d").unwrap();
            let mut next = requests.iter().cycle();
            group.bench_with_input(BenchmarkId::from_parameter(size), &size, |b, _| {
                b.iter(|| domain.find(set.rules(), black_box(next.next().unwrap())).unwrap().rule.index);
            });
        }
        group.finish();
        ratios(shape);
    }
}

/// Prints the cost of a search, and its ratio to that in the smallest domain.
fn ratios(shape: &Shape) {
    let mut first = None;
    for size in SIZES {
        let ns = nanoseconds(shape, size);
        let ratio = ns / *first.get_or_insert(ns);
        println!("{}: {size} rules: {ns:.1} ns a search, {ratio:.2} times {} rules", shape.name, SIZES[0]);
    }
}

/// The median of several runs.
fn nanoseconds(shape: &Shape, size: usize) -> f64 {
    let set = rules(shape, size);
    let requests = requests(shape, size);
    let domain = set.domain("d").unwrap();
    let mut runs: Vec<_> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            for entries in requests.iter().cycle().take(ROUNDS) {
                black_box(domain.find(set.rules(), black_box(entries)));
            }
            begun.elapsed().as_secs_f64() * 1e9 / ROUNDS as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

criterion_group!(benches, matching);
criterion_main!(benches);
