//! Computes the usage of each minute from cumulative counts.

use std::collections::{BTreeMap, HashMap};

use super::resolution::Resolution;
use super::{Reading, Series};
use crate::usage::Totals;

/// The usage that is not written yet, by minute.
pub(super) type Pending = BTreeMap<i64, HashMap<Series, Totals>>;

/// The last reading, and the usage since the last write.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    last: HashMap<Series, Totals>,
    pending: Pending,
}

impl Deltas {
    /// Adds a reading. Its difference to the last one is the usage of the minute of `second`.
    pub(super) fn add(&mut self, second: i64, readings: Vec<Reading>) {
        let minute = Resolution::Minute.floor(second);
        let mut now: HashMap<Series, Totals> = HashMap::with_capacity(readings.len());
        for Reading { series, counts } in readings {
            // Two readings with the same name belong to one series.
            now.entry(series).or_default().add(&counts);
        }
        for (series, counts) in &now {
            let used = counts.since(&self.last.get(series).copied().unwrap_or_default());
            if !used.is_zero() {
                self.pending.entry(minute).or_default().entry(series.clone()).or_default().add(&used);
            }
        }
        self.last = now;
        self.bound();
    }

    /// The usage that has to be written.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Marks the pending usage as written.
    pub(super) fn written(&mut self) {
        self.pending.clear();
    }

    /// Merges the oldest minutes while nothing can be written: their times become less precise, the sums stay exact.
    fn bound(&mut self) {
        while self.pending.len() > MAX_PENDING_MINUTES {
            let (Some((minute, oldest)), Some(next)) = (self.pending.pop_first(), self.pending.pop_first()) else {
                return;
            };
            let mut both = oldest;
            for (series, used) in next.1 {
                both.entry(series).or_default().add(&used);
            }
            self.pending.insert(minute, both);
        }
    }
}

/// Minutes that are kept while the disk cannot be written, each with up to all series at about 200 bytes.
const MAX_PENDING_MINUTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Measure;

    fn reading(counts: &[(&str, u64)]) -> Vec<Reading> {
        let reading = |(rule, checks): &(&str, u64)| Reading {
            series: Series::for_rule("d", rule),
            counts: Totals::default().with(Measure::RequestsAllowed, *checks),
        };
        counts.iter().map(reading).collect()
    }

    fn pending(deltas: &Deltas) -> Vec<(i64, String, u64)> {
        let rows = deltas.pending().iter().flat_map(|(minute, rows)| rows.iter().map(move |row| (*minute, row)));
        let mut all: Vec<_> = rows
            .map(|(minute, (series, used))| (minute, series.rule().to_owned(), used.get(Measure::RequestsAllowed)))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn each_reading_adds_what_is_new_to_its_minute() {
        let mut deltas = Deltas::default();
        deltas.add(60, reading(&[("a", 3), ("b", 0)]));
        deltas.add(119, reading(&[("a", 5), ("b", 1)]));
        deltas.add(120, reading(&[("a", 5), ("b", 3), ("b", 1)]));
        let row = |minute, rule: &str, checks| (minute, rule.to_owned(), checks);
        assert_eq!(pending(&deltas), [row(60, "a", 5), row(60, "b", 1), row(120, "b", 3)]);
        deltas.written();
        deltas.add(125, reading(&[("a", 6), ("b", 4)]));
        assert_eq!(pending(&deltas), [row(120, "a", 1)]);
    }

    #[test]
    fn a_series_that_vanished_or_started_again_never_goes_below_zero() {
        let mut deltas = Deltas::default();
        for (checks, want) in [(Some(7), 7), (None, 7), (Some(2), 9), (Some(1), 10), (Some(4), 13)] {
            let counts: Vec<_> = checks.map(|checks| ("a", checks)).into_iter().collect();
            deltas.add(0, reading(&counts));
            assert_eq!(pending(&deltas), [(0, "a".to_owned(), want)], "after {checks:?}");
        }
    }

    #[test]
    fn while_nothing_is_written_memory_is_bounded_and_sums_stay() {
        let mut deltas = Deltas::default();
        for minute in 0..100 {
            deltas.add(minute * 60, reading(&[("a", minute.cast_unsigned() + 1)]));
        }
        let rows = pending(&deltas);
        assert_eq!(rows.len(), MAX_PENDING_MINUTES);
        assert_eq!(rows[0], (0, "a".to_owned(), 100 - MAX_PENDING_MINUTES as u64 + 1));
        assert_eq!(rows.iter().map(|(_, _, checks)| checks).sum::<u64>(), 100);
    }
}
