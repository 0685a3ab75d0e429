//! Checks of many counters: three entries (partner, endpoint, tenant), 32 bytes of values.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Instant;

use prost::Message;
use rand::RngExt;
use rand::rngs::SmallRng;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor};
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::limiter::{Check, Descriptor, Limiter, Settings};
use tidegate::rules::{Entry, LoadOptions, RuleSet, SourceFile, load};
use tidegate::store::WhenFull;
use tidegate::units::Timestamp;

use crate::numbers::Spread;

/// An instant in the middle of an hour's window.
pub(crate) const NOW: Timestamp = Timestamp::from_ns(1_700_000_100_000_000_000);

/// Checks that are prepared together and then timed together: few enough to stay in the L1 cache, as a request that has just
/// been read, and enough that reading the clock costs little.
pub(crate) const BATCH: usize = 32;

/// The number of partners where it does not matter.
const PARTNERS: usize = 1_000;

/// One rule for any partner, endpoint and tenant.
pub(crate) fn one_rule(limit: &str) -> RuleSet {
    rules(&format!(
        "- key: partner\n  descriptors:\n  - key: endpoint\n    descriptors:\n    - key: tenant\n      rate_limit: {{{limit}}}\n"
    ))
}

pub(crate) fn rules(descriptors: &str) -> RuleSet {
    let text = format!("domain: api\ndescriptors:\n{descriptors}").into_bytes();
    load(&[SourceFile { name: "bench".into(), text }], LoadOptions::default()).unwrap()
}

/// A limiter with capacity for all counters of a bench.
pub(crate) fn limiter(rules: RuleSet) -> Limiter {
    let settings =
        Settings { counter_budget_bytes: 1 << 40, when_full: WhenFull::Deny, workers: 2, ..Settings::default() };
    let limiter = Limiter::new(settings);
    limiter.replace_rules(Timestamp::EPOCH, rules);
    limiter
}

pub(crate) const PER_HOUR: &str = "unit: hour, requests_per_unit: 4000000000";

/// The values of one counter's entries.
#[derive(Clone, Default)]
pub(crate) struct Values([String; 3]);

impl Values {
    /// Sets the values to those of counter `n`.
    pub(crate) fn set(&mut self, n: usize) {
        self.set_among(n, PARTNERS);
    }

    /// Sets the values to those of counter `n` among `partners` partners.
    pub(crate) fn set_among(&mut self, n: usize, partners: usize) {
        let [partner, endpoint, tenant] = &mut self.0;
        for value in [&mut *partner, endpoint, tenant] {
            value.clear();
        }
        write!(partner, "partner-{:04}", n % partners).unwrap();
        write!(endpoint, "/api/v1/{:02}", n / partners % 100).unwrap();
        write!(tenant, "tenant-{:03}", n / partners / 100).unwrap();
    }

    pub(crate) fn check(&self) -> Check<'_> {
        let entries = ["partner", "endpoint", "tenant"].into_iter().zip(&self.0);
        let entries = entries.map(|(key, value)| Entry { key: Cow::Borrowed(key), value: Cow::Borrowed(value) });
        let descriptor = Descriptor { entries: entries.collect(), ..Descriptor::default() };
        Check { domain: Cow::Borrowed("api"), descriptors: [descriptor].into_iter().collect(), ..Check::default() }
    }

    pub(crate) fn parts(&self) -> &[String; 3] {
        &self.0
    }
}

/// An encoded check.
pub(crate) fn encoded(check: &Check<'_>) -> Vec<u8> {
    let entry = |entry: &Entry<'_>| rate_limit_descriptor::Entry {
        key: entry.key.clone().into_owned(),
        value: entry.value.clone().into_owned(),
    };
    let descriptor = |of: &Descriptor<'_>| RateLimitDescriptor {
        entries: of.entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    };
    let descriptors = check.descriptors.iter().map(descriptor).collect();
    RateLimitRequest { domain: check.domain.clone().into_owned(), descriptors, hits_addend: 0 }.encode_to_vec()
}

/// Nanoseconds of `timed` for one of about `checks` random counters, from the median batch, because other load of the machine
/// makes some batches long. Preparing a batch is not included.
pub(crate) fn nanoseconds_each(
    random: &mut SmallRng,
    counters: usize,
    checks: usize,
    values: &mut [Values],
    timed: impl FnMut(&[Values]) -> u128,
) -> f64 {
    Spread::new(batches(|| random.random_range(0..counters), checks, values, timed)).median()
}

/// Nanoseconds of `timed` for one check, batch by batch, of about `checks` in all, for the counters from `next`.
pub(crate) fn batches(
    mut next: impl FnMut() -> usize,
    checks: usize,
    values: &mut [Values],
    mut timed: impl FnMut(&[Values]) -> u128,
) -> Vec<f64> {
    let batches = (0..checks.div_ceil(values.len())).map(|_| {
        for values in &mut *values {
            values.set(next());
        }
        timed(values) as f64 / values.len() as f64
    });
    batches.collect()
}

/// Nanoseconds that `work` takes.
pub(crate) fn time(work: impl FnOnce()) -> u128 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos()
}
