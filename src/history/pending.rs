//! The usage that is not written yet.

use std::collections::{BTreeMap, HashMap};

use super::resolution::Resolution;
use super::{Reading, Series};
use crate::usage::Totals;

/// The usage since the last write, by minute.
#[derive(Debug, Default)]
pub(super) struct Pending(BTreeMap<i64, Used>);

/// The usage of one minute.
pub(super) type Used = HashMap<Series, Totals, ahash::RandomState>;

impl Pending {
    /// Adds what has been used since the last reading to the minute of `second`.
    pub(super) fn add(&mut self, second: i64, read: impl FnOnce(&mut dyn FnMut(Reading))) {
        let minute = Resolution::Minute.floor(second);
        let mut used_now = self.0.remove(&minute).unwrap_or_default();
        read(&mut |Reading { series, used }| {
            if !used.is_zero() {
                used_now.entry(series).or_default().add(&used);
            }
        });
        if !used_now.is_empty() {
            self.0.insert(minute, used_now);
        }
        self.bound();
    }

    /// The usage of each minute.
    pub(super) fn minutes(&self) -> impl Iterator<Item = (i64, &Used)> {
        self.0.iter().map(|(minute, used)| (*minute, used))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what has been written.
    pub(super) fn written(&mut self) {
        self.0.clear();
    }

    /// Merges the oldest minutes while nothing can be written: their times become less precise, the sums stay exact.
    fn bound(&mut self) {
        while self.0.len() > MAX_PENDING_MINUTES {
            let (Some((minute, oldest)), Some(next)) = (self.0.pop_first(), self.0.pop_first()) else {
                return;
            };
            let mut both = oldest;
            for (series, used) in next.1 {
                both.entry(series).or_default().add(&used);
            }
            self.0.insert(minute, both);
        }
    }
}

/// Minutes that are kept while the disk cannot be written, each with up to all series at about 200 bytes.
const MAX_PENDING_MINUTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Measure;

    /// Adds checks of rules.
    fn add(pending: &mut Pending, second: i64, used: &[(&str, u64)]) {
        pending.add(second, |take| {
            for (rule, checks) in used {
                let used = Totals::default().with(Measure::RequestsAllowed, *checks);
                take(Reading { series: Series::for_rule("d", rule), used });
            }
        });
    }

    fn rows(pending: &Pending) -> Vec<(i64, String, u64)> {
        let rows = pending.minutes().flat_map(|(minute, rows)| rows.iter().map(move |row| (minute, row)));
        let mut all: Vec<_> = rows
            .map(|(minute, (series, used))| (minute, series.rule().to_owned(), used.get(Measure::RequestsAllowed)))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn each_reading_is_added_to_its_minute() {
        let mut pending = Pending::default();
        add(&mut pending, 60, &[("a", 3), ("b", 0)]);
        add(&mut pending, 119, &[("a", 2), ("b", 1)]);
        add(&mut pending, 120, &[("b", 2), ("b", 1)]);
        let row = |minute, rule: &str, checks| (minute, rule.to_owned(), checks);
        assert_eq!(rows(&pending), [row(60, "a", 5), row(60, "b", 1), row(120, "b", 3)]);
        pending.written();
        add(&mut pending, 125, &[("a", 0)]);
        assert!(pending.is_empty(), "nothing was used, so there is nothing to write");
        add(&mut pending, 125, &[("a", 1)]);
        assert_eq!(rows(&pending), [row(120, "a", 1)]);
    }

    #[test]
    fn while_nothing_is_written_memory_is_bounded_and_sums_stay() {
        let mut pending = Pending::default();
        for minute in 0..100 {
            add(&mut pending, minute * 60, &[("a", 1)]);
        }
        let rows = rows(&pending);
        assert_eq!(rows.len(), MAX_PENDING_MINUTES);
        assert_eq!(rows[0], (0, "a".to_owned(), 100 - MAX_PENDING_MINUTES as u64 + 1));
        assert_eq!(rows.iter().map(|(_, _, checks)| checks).sum::<u64>(), 100);
    }
}
