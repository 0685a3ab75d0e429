//! Cumulative counts over the last reports: what rates and sparklines are made of.

use std::collections::VecDeque;

use crate::api::proto::tidegate::v1::UsageCounts;
use crate::units::{Nanos, Timestamp};

/// Cumulative counts at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// When the server read them.
    pub(super) at: Timestamp,
    /// Checks.
    pub(super) checks: u64,
    /// Denied checks.
    pub(super) denied: u64,
    /// Checks with a delay because of a queue.
    pub(super) delayed: u64,
}

impl Sample {
    /// The counts of a report.
    pub(super) fn new(at: Timestamp, counts: &UsageCounts) -> Self {
        Self {
            at,
            checks: counts.num_requests,
            denied: counts.num_requests_denied,
            delayed: counts.num_requests_queued,
        }
    }

    /// The sum of both, at the time of the later one.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            checks: self.checks.saturating_add(other.checks),
            denied: self.denied.saturating_add(other.denied),
            delayed: self.delayed.saturating_add(other.delayed),
        }
    }

    /// The denied share of the checks; `None` without any.
    pub(super) fn denied_share(self) -> Option<f64> {
        share(self.denied, self.checks)
    }
}

/// Increases per second; `None`: not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Checks.
    pub(super) checks: Option<f64>,
    /// Denied checks.
    pub(super) denied: Option<f64>,
    /// Delayed checks.
    pub(super) delayed: Option<f64>,
}

impl Rates {
    /// The sum; what only one of both knows is its own.
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (known, None) | (None, known) => known,
        };
        Self {
            checks: sum(self.checks, other.checks),
            denied: sum(self.denied, other.denied),
            delayed: sum(self.delayed, other.delayed),
        }
    }

    /// The denied share of the checks now; `None` without any.
    pub(super) fn denied_share(self) -> Option<f64> {
        let (checks, denied) = (self.checks?, self.denied?);
        (checks > 0.0).then(|| denied / checks)
    }
}

/// The last samples of one thing that is counted.
#[derive(Clone, Debug)]
pub(super) struct Track {
    samples: VecDeque<Sample>,
    most: usize,
}

impl Track {
    /// A track of so many intervals.
    pub(super) fn new(intervals: usize) -> Self {
        Self { samples: VecDeque::new(), most: intervals + 1 }
    }

    /// Adds a sample. Counts that went down are of something else, and the track begins with them; a sample that is not later
    /// replaces the last one.
    pub(super) fn add(&mut self, sample: Sample) {
        if let Some(last) = self.samples.back() {
            let went_down = sample.checks < last.checks || sample.denied < last.denied || sample.delayed < last.delayed;
            if went_down {
                self.samples.clear();
            } else if sample.at <= last.at {
                self.samples.pop_back();
            }
        }
        if self.samples.len() >= self.most {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The last sample.
    pub(super) fn last(&self) -> Option<Sample> {
        self.samples.back().copied()
    }

    /// The rates over the last intervals, [`SMOOTHED`] at most.
    pub(super) fn rates(&self) -> Rates {
        let Some(last) = self.samples.back() else { return Rates::default() };
        let Some(first) =
            self.samples.iter().rev().nth(SMOOTHED).or_else(|| self.samples.front()).filter(|first| first.at < last.at)
        else {
            return Rates::default();
        };
        let rate = |of: fn(&Sample) -> u64| Some(per_second(first, last, of));
        Rates {
            checks: rate(|sample| sample.checks),
            denied: rate(|sample| sample.denied),
            delayed: rate(|sample| sample.delayed),
        }
    }

    /// The rate in each interval, the oldest first.
    pub(super) fn history(&self, of: fn(&Sample) -> u64) -> Vec<f64> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs.map(|(first, last)| per_second(first, last, of)).collect()
    }
}

#[allow(clippy::cast_precision_loss)] // Rates are shown with three digits.
fn per_second(first: &Sample, last: &Sample, of: fn(&Sample) -> u64) -> f64 {
    let seconds = last.at.since(first.at).as_ns() as f64 / Nanos::SECOND.as_ns() as f64;
    of(last).saturating_sub(of(first)) as f64 / seconds
}

/// A part of a whole; `None` of nothing.
#[allow(clippy::cast_precision_loss)] // Shares are shown with three digits.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Intervals that a rate is the mean of: with fewer, small rates flicker.
const SMOOTHED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64, checks: u64, denied: u64) -> Sample {
        Sample { at: Timestamp::from_ns(tenths * 100_000_000), checks, denied, delayed: 0 }
    }

    #[test]
    fn rates_and_histories() {
        let cases: [(&[Sample], Option<f64>, &[f64]); 8] = [
            (&[], None, &[]),
            (&[at(10, 5, 0)], None, &[]),
            (&[at(10, 5, 0), at(20, 25, 0)], Some(20.0), &[20.0]),
            (&[at(10, 5, 0), at(15, 25, 0)], Some(40.0), &[40.0]),
            // The mean of three intervals, of four that are kept.
            (
                &[at(0, 0, 0), at(10, 100, 0), at(20, 100, 0), at(30, 100, 0), at(40, 130, 0), at(50, 130, 0)],
                Some(10.0),
                &[0.0, 0.0, 30.0, 0.0],
            ),
            // The server started again.
            (&[at(10, 5, 0), at(20, 25, 0), at(30, 3, 0), at(40, 4, 0)], Some(1.0), &[1.0]),
            (&[at(10, 5, 3), at(20, 9, 2)], None, &[]),
            // A clock that does not advance.
            (&[at(10, 5, 0), at(20, 6, 0), at(20, 9, 0)], Some(4.0), &[4.0]),
        ];
        for (samples, rate, history) in cases {
            let mut track = Track::new(4);
            for sample in samples {
                track.add(*sample);
            }
            assert_eq!(track.rates().checks, rate, "{samples:?}");
            assert_eq!(track.history(|sample| sample.checks), history, "{samples:?}");
            assert_eq!(track.last(), samples.last().copied());
        }
    }

    #[test]
    fn shares() {
        assert_eq!(at(0, 8, 2).denied_share(), Some(0.25));
        assert_eq!(Sample::default().denied_share(), None);
        let rates = Rates { checks: Some(8.0), denied: Some(2.0), delayed: None };
        assert_eq!(rates.denied_share(), Some(0.25));
        assert_eq!(rates.plus(rates), Rates { checks: Some(16.0), denied: Some(4.0), delayed: None });
        assert_eq!(rates.plus(Rates::default()), rates);
        assert_eq!(Rates::default().denied_share(), None);
    }
}
