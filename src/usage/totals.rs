//! Sums of usage.

use std::fmt;

use super::Measure;
use super::measure::{COLUMNS, COUNTED, PER_COUNTER};

/// The sums of a rule, of a counter, or of several together: a number for each [`Measure`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals([u64; COUNTED]);

impl Totals {
    /// The number of one measure; 0 if it is not counted, as most are not for single counters.
    pub fn get(&self, measure: Measure) -> u64 {
        let sum = |a, b| self.get(a).saturating_add(self.get(b));
        match measure {
            Measure::Requests => sum(Measure::RequestsAllowed, Measure::RequestsDenied),
            Measure::HitsAllowed => sum(Measure::HitsWithinLimit, Measure::HitsShadowAllowed),
            Measure::Hits => sum(Measure::HitsAllowed, Measure::HitsDenied),
            counted => self.0.get(counted as usize).copied().unwrap_or(0),
        }
    }

    /// A copy in which `measure` is `count`. A measure that is derived from others does not change.
    #[must_use]
    pub fn with(mut self, measure: Measure, count: u64) -> Self {
        if let Some(slot) = self.0.get_mut(measure as usize) {
            *slot = count;
        }
        self
    }

    /// All checks.
    pub fn requests(&self) -> u64 {
        self.get(Measure::Requests)
    }

    /// All requested hits.
    pub fn hits(&self) -> u64 {
        self.get(Measure::Hits)
    }

    /// From numbers in the order of [`Measure`], as they are counted.
    pub(super) fn from_counted(counted: impl Iterator<Item = u64>) -> Self {
        let mut totals = Self::default();
        totals.0.iter_mut().zip(counted).for_each(|(total, count)| *total = count);
        totals
    }

    /// From numbers in the order of [`COLUMNS`], as the history stores them.
    pub fn from_columns(values: impl IntoIterator<Item = u64>) -> Self {
        let (mut totals, mut hits, mut allowed) = (Self::default(), 0, 0);
        for (column, value) in COLUMNS.iter().zip(values) {
            match column.measure {
                Measure::Hits => hits = value,
                Measure::HitsAllowed => allowed = value,
                measure => totals = totals.with(measure, value),
            }
        }
        totals.with(Measure::HitsWithinLimit, allowed).with(Measure::HitsDenied, hits.saturating_sub(allowed))
    }

    /// Only the measures of single counters.
    pub(super) fn per_counter(&self) -> Self {
        Self::from_counted(self.0.into_iter().take(PER_COUNTER))
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds, saturating.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(count);
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// The difference to `earlier`. A count that is lower than before has started from 0 again, so all of it is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = || self.0.into_iter().zip(earlier.0);
        if counts().any(|(now, then)| now < then) {
            return *self;
        }
        Self::from_counted(counts().map(|(now, then)| now.saturating_sub(then)))
    }
}

/// The measures that are not 0, by name.
impl fmt::Debug for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measures = COLUMNS.iter().map(|column| column.measure).chain([Measure::HitsWithinLimit]);
        f.debug_map().entries(measures.map(|m| (m, self.get(m))).filter(|(_, count)| *count > 0)).finish()
    }
}

#[cfg(test)]
impl Totals {
    /// So many checks of one hit, admitted and denied.
    pub(super) fn of_checks(allowed: u64, denied: u64) -> Self {
        Self::default()
            .with(Measure::RequestsAllowed, allowed)
            .with(Measure::RequestsDenied, denied)
            .with(Measure::HitsWithinLimit, allowed)
            .with(Measure::HitsDenied, denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_never_negative() {
        let counts = |allowed, denied| {
            Totals::default().with(Measure::RequestsAllowed, allowed).with(Measure::RequestsDenied, denied)
        };
        for (now, then, want) in [
            (counts(4, 1), counts(2, 1), counts(2, 0)),
            (counts(4, 1), counts(4, 1), counts(0, 0)),
            (counts(2, 0), counts(2, 1), counts(2, 0)),
            (counts(9, 0), counts(2, 1), counts(9, 0)),
        ] {
            assert_eq!(now.since(&then), want, "{now:?} since {then:?}");
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let counted = Totals::from_counted(1..);
        let stored = Totals::from_columns(COLUMNS.map(|column| counted.get(column.measure)));
        for column in COLUMNS {
            assert_eq!(stored.get(column.measure), counted.get(column.measure), "{}", column.name);
        }
        assert_eq!(stored.get(Measure::HitsDenied), counted.get(Measure::HitsDenied));
    }

    #[test]
    fn what_is_not_known_of_counters_is_zero() {
        let counter_totals = Totals::from_counted(1..).per_counter();
        for column in COLUMNS {
            assert_eq!(counter_totals.get(column.measure) > 0, column.per_counter, "{}", column.name);
        }
    }
}
