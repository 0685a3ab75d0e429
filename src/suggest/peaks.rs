//! How much the counters of a limit were used at most.

use super::CounterRequests;
use crate::engine::{Limit, Op};
use crate::units::{Nanos, Timestamp};

/// The peaks of the counters of one limit: of each, the most hits in one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// The number of counters.
    pub counters: u64,
    /// The highest peak, and those that 99 %, 95 % and 50 % of the counters do not exceed.
    pub highest: u64,
    /// See `highest`.
    pub p99: u64,
    /// See `highest`.
    pub p95: u64,
    /// See `highest`.
    pub p50: u64,
    /// The entries of the counter with the highest peak.
    pub busiest: Vec<(String, String)>,
}

impl Peaks {
    /// From the peak and the entries of each counter.
    pub fn new<'e>(peaks: impl Iterator<Item = (u64, &'e [(String, String)])>) -> Self {
        let mut peaks: Vec<_> = peaks.collect();
        peaks.sort_by_key(|(peak, _)| *peak);
        let Some((highest, busiest)) = peaks.last().copied() else { return Self::default() };
        // Nearest rank.
        let percentile = |percent: usize| {
            let rank = (peaks.len() * percent).div_ceil(100).saturating_sub(1);
            peaks.get(rank).map_or(0, |(peak, _)| *peak)
        };
        Self {
            counters: peaks.len() as u64,
            highest,
            p99: percentile(99),
            p95: percentile(95),
            p50: percentile(50),
            busiest: busiest.to_vec(),
        }
    }

    /// The peaks of requests in the windows of a limit: aligned ones if its windows are, otherwise any of that length.
    pub fn of_requests(limit: &Limit, counters: &[CounterRequests]) -> Self {
        let peak = |counter: &CounterRequests| match limit.aligned_end(Timestamp::EPOCH) {
            Some(_) => aligned(limit, counter),
            None => trailing(limit.window, counter),
        };
        Self::new(counters.iter().map(|counter| (peak(counter), counter.entries.as_slice())))
    }
}

fn charges(counter: &CounterRequests) -> impl Iterator<Item = (Timestamp, u64)> {
    counter.requests.iter().filter_map(|request| match request.op {
        Op::Charge(hits) => Some((request.at, hits)),
        Op::Refund(_) => None,
    })
}

/// The most hits in one of the windows that all counters have.
fn aligned(limit: &Limit, counter: &CounterRequests) -> u64 {
    let (mut peak, mut current, mut sum) = (0, None, 0_u64);
    for (at, hits) in charges(counter) {
        let end = limit.aligned_end(at);
        if end != current {
            (current, sum) = (end, 0);
        }
        sum = sum.saturating_add(hits);
        peak = peak.max(sum);
    }
    peak
}

/// The most hits in any half-open interval of the length `window`.
fn trailing(window: Nanos, counter: &CounterRequests) -> u64 {
    let mut oldest = charges(counter).peekable();
    let (mut peak, mut sum) = (0, 0_u64);
    for (at, hits) in charges(counter) {
        sum = sum.saturating_add(hits);
        while let Some((_, left)) = oldest.next_if(|(old, _)| old.plus(window) <= at) {
            sum = sum.saturating_sub(left);
        }
        peak = peak.max(sum);
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Algorithm, CountDenied, Starts};
    use crate::suggest::Request;

    fn counter(hits: &[(u64, u64)]) -> CounterRequests {
        let request = |&(ms, hits): &(u64, u64)| Request {
            at: Timestamp::from_ns(ms * 1_000_000),
            op: Op::Charge(hits),
            timeout: None,
        };
        CounterRequests { entries: Vec::new(), requests: hits.iter().map(request).collect() }
    }

    #[test]
    fn windows_are_aligned_or_trail() {
        let second = Nanos::SECOND;
        for (hits, expected_aligned, expected_trailing) in [
            (&[][..], 0, 0),
            (&[(0, 3)], 3, 3),
            (&[(900, 3), (1_100, 4)], 4, 7),
            (&[(900, 3), (1_900, 4)], 4, 4),
            (&[(900, 3), (1_899, 4)], 4, 7),
            (&[(0, 1), (500, 1), (1_000, 1), (1_200, 1)], 2, 3),
        ] {
            let counter = counter(hits);
            let algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
            let limit = Limit { max: 1, window: second, algorithm, ban: None, count_denied: CountDenied::Never };
            assert_eq!(aligned(&limit, &counter), expected_aligned, "{hits:?}");
            assert_eq!(trailing(second, &counter), expected_trailing, "{hits:?}");
        }
    }

    #[test]
    fn percentiles_are_of_counters() {
        let entries = vec![("user".to_owned(), "ann".to_owned())];
        let all: Vec<(u64, &[(String, String)])> = (1..=200).map(|peak| (peak, &*entries)).collect();
        let peaks = Peaks::new(all.into_iter().rev());
        assert_eq!((peaks.counters, peaks.highest, peaks.p99, peaks.p95, peaks.p50), (200, 200, 198, 190, 100));
        assert_eq!(Peaks::new([(7, &*entries)].into_iter()).p50, 7);
        assert_eq!(Peaks::new(std::iter::empty()), Peaks::default());
    }
}
