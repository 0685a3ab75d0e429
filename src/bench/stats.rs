//! The outcomes of checks.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::failure::Failure;

/// The outcomes of the checks that count: those that were due from a certain instant on.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    from_ns: u64,
    until_ns: u64,
    /// Answers before the end.
    pub in_time: u64,
    /// Admitted checks.
    pub ok: u64,
    /// Denied checks.
    pub over_limit: u64,
    /// Checks without an answer by the reason, with the message of the first of each.
    pub failures: BTreeMap<Failure, (u64, String)>,
    /// The time from when a check was due to its answer, in nanoseconds, without checks that have no answer.
    pub latency_ns: Histogram<u64>,
}

impl Stats {
    /// LiveCounts checks that are due from `from_ns` on; answers until `until_ns` are in time.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are constants that it accepts, as a test shows.
    pub(super) fn new(from_ns: u64, until_ns: u64) -> Self {
        #[allow(clippy::expect_used)] // Constants that a test holds.
        let latency_ns = Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS).expect("bounds that fit");
        Self { from_ns, until_ns, in_time: 0, ok: 0, over_limit: 0, failures: BTreeMap::new(), latency_ns }
    }

    /// Ends the time for answers at `until_ns`, if that is before the current end.
    pub(super) fn end_at(&mut self, until_ns: u64) {
        self.until_ns = self.until_ns.min(until_ns);
    }

    /// LiveCounts an answer to a check that was due at `due_ns`.
    pub(super) fn answer(&mut self, due_ns: u64, now_ns: u64, over_limit: bool) {
        if due_ns < self.from_ns {
            return;
        }
        if over_limit {
            self.over_limit += 1;
        } else {
            self.ok += 1;
        }
        self.in_time += u64::from(now_ns < self.until_ns);
        self.latency_ns.saturating_record(now_ns.saturating_sub(due_ns));
    }

    /// LiveCounts a check that was due at `due_ns` and has no answer.
    pub(super) fn fail(&mut self, due_ns: u64, failure: Failure, said: &str) {
        if due_ns >= self.from_ns {
            self.fail_many(1, failure, said);
        }
    }

    /// LiveCounts `count` checks without an answer.
    pub(super) fn fail_many(&mut self, count: u64, failure: Failure, said: &str) {
        if count > 0 {
            self.failures.entry(failure).or_insert_with(|| (0, said.to_owned())).0 += count;
        }
    }

    /// Checks without an answer.
    pub(crate) fn errors(&self) -> u64 {
        self.failures.values().map(|(count, _)| count).sum()
    }

    /// All checks that count.
    pub(crate) fn checks(&self) -> u64 {
        self.ok + self.over_limit + self.errors()
    }

    /// Adds the counts of another one.
    pub(super) fn add(&mut self, other: &Self) {
        self.in_time += other.in_time;
        self.ok += other.ok;
        self.over_limit += other.over_limit;
        for (failure, (count, said)) in &other.failures {
            self.fail_many(*count, *failure, said);
        }
        // Both have the same bounds, so this cannot fail.
        let _fits = self.latency_ns.add(&other.latency_ns);
    }
}

/// Longer times count as an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Latencies have a precision of one thousandth.
const SIGNIFICANT_DIGITS: u8 = 3;
