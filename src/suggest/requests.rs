//! The requests of a trace, by limit and counter.

use std::collections::HashMap;

use crate::engine::Op;
use crate::limiter::{Check, Descriptor};
use crate::rules::{Entry, Rule, RuleSet};
use crate::units::{Nanos, Timestamp};

/// One request of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it came.
    pub at: Timestamp,
    /// What it asked for.
    pub op: Op,
    /// How long its caller waits; `None`: without a limit.
    pub timeout: Option<Nanos>,
}

/// The requests of one counter, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct CounterRequests {
    /// The entries of the first one.
    pub entries: Vec<(String, String)>,
    /// The requests.
    pub requests: Vec<Request>,
}

/// The requests of one limit.
#[derive(Clone, Debug, Default)]
pub struct LimitRequests {
    /// By counter.
    pub counters: Vec<CounterRequests>,
    /// By the parts of entries that the rule does not fix: the place in `counters`.
    by_key: HashMap<Vec<(String, String)>, usize>,
}

/// The trace has more requests than can be examined at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trace has more than {MAX_REQUESTS} requests of rules: split it, or record fewer checks")]
pub struct TooManyRequests;

/// The requests of all limits of some rules.
#[derive(Debug)]
pub struct Traffic<'r> {
    rules: &'r RuleSet,
    /// By the index of the rule and the place of the limit; of unlimited rules by place 0.
    limits: HashMap<(usize, usize), LimitRequests>,
    requests: usize,
}

impl<'r> Traffic<'r> {
    /// None yet.
    pub fn new(rules: &'r RuleSet) -> Self {
        Self { rules, limits: HashMap::new(), requests: 0 }
    }

    /// Adds the descriptors of a check that rules limit: without those that carry a limit of their own, and those whose rule is
    /// replaced.
    ///
    /// # Errors
    /// There are too many.
    pub fn add(&mut self, at: Timestamp, check: &Check<'_>) -> Result<(), TooManyRequests> {
        let Some(domain) = self.rules.domain(&check.domain) else { return Ok(()) };
        let matched = |descriptor: &Descriptor<'_>| {
            let carries = descriptor.limit.is_some_and(|limit| limit.period.is_some());
            let found = domain.find(self.rules.rules(), &descriptor.entries).filter(|_| !carries);
            found.map(|found| found.rule)
        };
        let matched: Vec<_> = check.descriptors.iter().map(matched).collect();
        let replaced: Vec<&str> =
            matched.iter().flatten().flat_map(|rule| &rule.replaces).map(String::as_str).collect();
        for (descriptor, rule) in check.descriptors.iter().zip(matched) {
            let Some(rule) = rule else { continue };
            let hits = check.hits(descriptor);
            let op = if descriptor.refund { Op::Refund(hits) } else { Op::Charge(hits) };
            let request = Request { at, op, timeout: check.timeout };
            let of_limits =
                rule.limits.iter().filter(|limit| limit.name.is_empty() || !replaced.contains(&&*limit.name));
            let places: Vec<_> =
                of_limits.map(|limit| limit.place).chain(rule.limits.is_empty().then_some(0)).collect();
            for place in places {
                self.requests += 1;
                if self.requests > MAX_REQUESTS {
                    return Err(TooManyRequests);
                }
                self.limits.entry((rule.index, place)).or_default().add(rule, &descriptor.entries, request);
            }
        }
        Ok(())
    }

    /// The requests of a rule's limit with this place; 0 for an unlimited rule.
    pub fn of(&self, rule: &Rule, place: usize) -> Option<&LimitRequests> {
        self.limits.get(&(rule.index, place))
    }
}

impl LimitRequests {
    fn add(&mut self, rule: &Rule, entries: &[Entry<'_>], request: Request) {
        let part = |varies: bool, text: &str| if varies { text.to_owned() } else { String::new() };
        let levels = rule.levels.iter().zip(entries);
        let key: Vec<_> = levels
            .map(|(level, entry)| (part(level.varies.key(), &entry.key), part(level.varies.value(), &entry.value)))
            .collect();
        let at = *self.by_key.entry(key).or_insert_with(|| {
            let entries = entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_string())).collect();
            self.counters.push(CounterRequests { entries, requests: Vec::new() });
            self.counters.len() - 1
        });
        if let Some(counter) = self.counters.get_mut(at) {
            counter.requests.push(request);
        }
    }

    /// The number of requests that could be denied: refunds are not.
    pub fn count(&self) -> u64 {
        let all = self.counters.iter().flat_map(|counter| &counter.requests);
        all.filter(|request| matches!(request.op, Op::Charge(_))).count() as u64
    }
}

/// Requests that are kept, 48 bytes each: about a gigabyte.
const MAX_REQUESTS: usize = 20_000_000;
