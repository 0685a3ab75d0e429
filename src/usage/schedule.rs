//! When an observer gets its reports, and how many it has missed.

use crate::units::Nanos;

/// The reports of one observer: one for each whole `interval` since the server's start.
///
/// Time is the length of time since then, so that the numbers of reports mean the same to every stream.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    interval: Nanos,
    /// The number of the last report; before the first one, that of the stream that it resumes.
    last: Option<u64>,
    begun: bool,
}

/// The place of one report in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How many whole intervals have passed since the server's start.
    pub sequence: u64,
    /// Reports that this one replaces.
    pub merged: u64,
}

impl Schedule {
    /// Reports at once, then after every `interval`; `last` is the number of the last report that the observer has of
    /// this very server process.
    pub fn new(interval: Nanos, last: Option<u64>) -> Self {
        Self { interval, last, begun: false }
    }

    /// When the next report is due.
    pub fn due(&self) -> Nanos {
        match self.last {
            Some(last) if self.begun => Nanos::from_ns(last.saturating_add(1).saturating_mul(self.interval.as_ns())),
            _ => Nanos::ZERO,
        }
    }

    /// The start of the interval that a report covers.
    pub fn begun(&self, place: Place) -> Nanos {
        Nanos::from_ns(place.sequence.saturating_mul(self.interval.as_ns()))
    }

    /// The report that is made now, or `None` when none is due.
    pub fn next(&mut self, elapsed: Nanos) -> Option<Place> {
        if elapsed < self.due() {
            return None;
        }
        let sequence = elapsed.as_ns() / self.interval.as_ns().max(1);
        // A number from the future is no number of this server: nothing was missed.
        let merged = self.last.map_or(0, |last| sequence.saturating_sub(last).saturating_sub(1));
        *self = Self { last: Some(sequence), begun: true, ..*self };
        Some(Place { sequence, merged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Nanos {
        Nanos::from_ns(ms * 1_000_000)
    }

    /// Polls at each of these instants (ms), every 1000 ms a report; what was reported, as (instant, sequence, merged).
    fn run(resumed: Option<u64>, polls: &[u64]) -> Vec<(u64, u64, u64)> {
        let mut schedule = Schedule::new(ms(1_000), resumed);
        let report = |at: &u64| schedule.next(ms(*at)).map(|place| (*at, place.sequence, place.merged));
        polls.iter().filter_map(report).collect()
    }

    #[test]
    fn a_snapshot_first_then_one_report_an_interval() {
        assert_eq!(
            run(None, &[2_300, 2_400, 2_999, 3_000, 3_001, 3_999, 4_200, 5_000]),
            [(2_300, 2, 0), (3_000, 3, 0), (4_200, 4, 0), (5_000, 5, 0)]
        );
    }

    #[test]
    fn an_observer_that_was_busy_is_reported_how_many_were_merged() {
        assert_eq!(run(None, &[500, 9_100, 9_200, 10_000]), [(500, 0, 0), (9_100, 9, 8), (10_000, 10, 0)]);
    }

    #[test]
    fn a_resumed_observer_is_reported_what_it_missed() {
        for (resumed, first) in [(2, 4), (6, 0), (7, 0), (99, 0)] {
            assert_eq!(run(Some(resumed), &[7_100, 7_900, 8_000]), [(7_100, 7, first), (8_000, 8, 0)], "{resumed}");
        }
    }

    #[test]
    fn the_end_of_time_is_survived() {
        let mut schedule = Schedule::new(Nanos::from_ns(1), Some(0));
        assert_eq!(schedule.next(Nanos::from_ns(u64::MAX)), Some(Place { sequence: u64::MAX, merged: u64::MAX - 1 }));
        assert_eq!(schedule.due(), Nanos::from_ns(u64::MAX));
        assert!(Schedule::new(Nanos::ZERO, None).next(Nanos::ZERO).is_some());
    }
}
