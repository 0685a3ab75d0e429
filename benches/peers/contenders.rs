//! The contenders: Tidegate, other libraries, and a map that only counts.
//!
//! Each gets the same three entries, and prepares its arguments before the time is measured: Tidegate a decoded check, the
//! maps and governor an owned key with the bytes of Tidegate's counter, limitador a context. Only Tidegate also matches a
//! rule, counts usage and makes a complete status.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use governor::{DefaultKeyedRateLimiter, Quota};
use limitador::RateLimiter;
use limitador::limit::{Context, Expression, Limit, Namespace};
use tidegate::limiter::{Limiter, WorkerSlot};
use tidegate::store::{CounterKey, LimitId};

use crate::traffic::{NOW, PER_HOUR, Values, limiter, one_rule, time};

/// A contender.
pub(crate) trait Contender: Sync {
    /// Prepares to decide one check for each of `values`. The returned closure decides.
    fn prepare<'a>(&'a self, worker: WorkerSlot, values: &'a [Values]) -> Work<'a>;
}

/// Decides, and keeps its arguments until it is dropped, because freeing them is not a part of a decision.
pub(crate) type Work<'a> = Box<dyn FnMut() + 'a>;

/// Creates a contender with capacity for this number of counters.
pub(crate) type New = fn(usize) -> Box<dyn Contender>;

/// The names of the contenders, and how each is created.
pub(crate) const ALL: [(&str, New); 5] = [
    (TIDEGATE, |_| Box::new(limiter(one_rule(PER_HOUR)))),
    ("dashmap, ahash", |_| Box::new(Plain::<ahash::RandomState>(DashMap::default()))),
    ("dashmap, SipHash", |_| Box::new(Plain::<std::hash::RandomState>(DashMap::default()))),
    ("governor", |_| Box::new(DefaultKeyedRateLimiter::keyed(QUOTA))),
    ("limitador", |counters| Box::new(Limitador::new(counters))),
];

pub(crate) const TIDEGATE: &str = "View::check";

/// Creates a contender with this number of counters, each of which has been charged once.
pub(crate) fn filled(new: New, counters: usize) -> Box<dyn Contender> {
    let contender = new(counters);
    fill(&*contender, counters);
    contender
}

/// Charges this number of counters once each.
pub(crate) fn fill(contender: &dyn Contender, counters: usize) {
    let mut values = [Values::default()];
    for n in 0..counters {
        values[0].set(n);
        contender.prepare(WorkerSlot(0), &values)();
    }
}

impl<S: BuildHasher + Clone + Default + Sync> Plain<S> {
    pub(crate) fn new() -> Self {
        Self(DashMap::default())
    }
}

impl Contender for Limiter {
    fn prepare<'a>(&'a self, worker: WorkerSlot, values: &'a [Values]) -> Work<'a> {
        let checks: Vec<_> = values.iter().map(Values::check).collect();
        Box::new(move || {
            for check in &checks {
                black_box(self.view().unwrap().check(worker, NOW, black_box(check)));
            }
        })
    }
}

/// A map without a limiter: the keys of the same counters, and a number each.
pub(crate) struct Plain<S>(DashMap<Box<[u8]>, AtomicU64, S>);

impl<S: BuildHasher + Clone + Sync> Contender for Plain<S> {
    fn prepare<'a>(&'a self, _: WorkerSlot, values: &'a [Values]) -> Work<'a> {
        let names: Vec<_> = values.iter().map(name).collect();
        Box::new(move || {
            for name in &names {
                if let Some(counter) = self.0.get(black_box(&**name)) {
                    black_box(counter.fetch_add(1, Ordering::Relaxed));
                } else {
                    self.0.insert(name.clone(), AtomicU64::new(1));
                }
            }
        })
    }
}

/// GCRA. It looks up by a reference to an owned key, and reads its own clock, by default the processor's counter.
impl Contender for DefaultKeyedRateLimiter<Box<[u8]>> {
    fn prepare<'a>(&'a self, _: WorkerSlot, values: &'a [Values]) -> Work<'a> {
        let names: Vec<_> = values.iter().map(name).collect();
        Box::new(move || {
            for name in &names {
                assert!(black_box(self.check_key(black_box(name))).is_ok());
            }
        })
    }
}

/// A hit every ten nanoseconds, so that no check is denied.
const QUOTA: Quota = Quota::per_second(NonZeroU32::new(100_000_000).unwrap());

/// One limit with counters by three variables.
struct Limitador {
    limiter: RateLimiter,
    namespace: Namespace,
}

impl Limitador {
    fn new(counters: usize) -> Self {
        // Its store is a cache, which drops counters beyond its capacity.
        let limiter = RateLimiter::new(2 * counters as u64);
        let variables = KEYS.map(|key| Expression::parse(key).unwrap());
        let namespace = Namespace::from("api");
        limiter.add_limit(Limit::new(namespace.clone(), 4_000_000_000, 3_600, [], variables));
        Self { limiter, namespace }
    }
}

impl Contender for Limitador {
    fn prepare<'a>(&'a self, _: WorkerSlot, values: &'a [Values]) -> Work<'a> {
        let contexts: Vec<Context<'_>> = values.iter().map(context).collect();
        Box::new(move || {
            for context in &contexts {
                let result =
                    self.limiter.check_rate_limited_and_update(&self.namespace, black_box(context), 1).unwrap();
                assert!(!result.limited && result.counters.len() == 1);
            }
        })
    }
}

/// Nanoseconds to make limitador's contexts from the entries, of which each check needs one.
pub(crate) fn contexts(values: &[Values]) -> u128 {
    time(|| values.iter().for_each(|values| drop(black_box(context(values)))))
}

const KEYS: [&str; 3] = ["partner", "endpoint", "tenant"];

fn context(values: &Values) -> Context<'static> {
    let entries = KEYS.iter().zip(values.parts()).map(|(key, value)| ((*key).to_owned(), value.clone()));
    entries.collect::<HashMap<_, _>>().into()
}

/// The key of the same counter in Tidegate's store.
fn name(values: &Values) -> Box<[u8]> {
    let mut key = CounterKey::new(LimitId::OVERRIDE);
    values.parts().iter().for_each(|part| key.push(part.as_bytes()));
    key.as_bytes().into()
}
