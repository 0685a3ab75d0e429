//! When an observer receives reports, and how many it has missed.

use crate::units::Nanos;

/// The schedule of reports for one observer: one for each whole `interval` since the server's start.
///
/// Times are lengths of time since the start, so that the numbers of reports have the same meaning in every stream.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    interval: Nanos,
    /// The number of the last report; before the first one, the last number of the resumed stream.
    last: Option<u64>,
    begun: bool,
}

/// The position of one report in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportPosition {
    /// The number of whole intervals since the server's start.
    pub sequence: u64,
    /// The number of missed reports that this one replaces.
    pub merged: u64,
}

impl Schedule {
    /// Reports at once, then at every `interval`; `last` is the number of the last report that the observer received from this
    /// server process.
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

    /// The beginning of the interval of a report.
    pub fn begun(&self, place: ReportPosition) -> Nanos {
        Nanos::from_ns(place.sequence.saturating_mul(self.interval.as_ns()))
    }

    /// The report that is due now, or `None`.
    pub fn next(&mut self, elapsed: Nanos) -> Option<ReportPosition> {
        if elapsed < self.due() {
            return None;
        }
        let sequence = elapsed.as_ns() / self.interval.as_ns().max(1);
        // A number from the future is not from this server: no report was missed.
        let merged = self.last.map_or(0, |last| sequence.saturating_sub(last).saturating_sub(1));
        *self = Self { last: Some(sequence), begun: true, ..*self };
        Some(ReportPosition { sequence, merged })
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
        assert_eq!(
            schedule.next(Nanos::from_ns(u64::MAX)),
            Some(ReportPosition { sequence: u64::MAX, merged: u64::MAX - 1 })
        );
        assert_eq!(schedule.due(), Nanos::from_ns(u64::MAX));
        assert!(Schedule::new(Nanos::ZERO, None).next(Nanos::ZERO).is_some());
    }
}
