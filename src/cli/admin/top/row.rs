//! A row of a table, whatever it is of, and the order of rows.

use std::cmp::Ordering;

use super::track::{Rates, Sample, Track, share};
use super::usage::Key;
use crate::api::proto::tidegate::v1::{Counter, Denial, Entry};

/// What a row is of, and what an action on it applies to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// A domain.
    Domain(String),
    /// A rule.
    Rule {
        /// The domain.
        domain: String,
        /// The configured path.
        rule: String,
    },
    /// The counters of a rule with one entry.
    Value {
        /// The domain.
        domain: String,
        /// The configured path.
        rule: String,
        /// The entry.
        entry: Entry,
    },
    /// One counter, and the place of its limit in the rule; 0: any.
    Counter(Key, u32),
    /// What is not tracked individually of a rule.
    Rest {
        /// The domain.
        domain: String,
        /// The configured path.
        rule: String,
    },
    /// A denied check, by its rule and its time in nanoseconds since the epoch.
    Denial {
        /// The domain.
        domain: String,
        /// The configured path.
        rule: String,
        /// The time of the decision.
        at_ns: u64,
    },
}

/// A row of a table. What a table does not show is empty.
#[derive(Clone, Debug)]
pub(super) struct Row<'m> {
    /// What it is of.
    pub(super) target: Target,
    /// Its name, of which the filter wants a part.
    pub(super) name: String,
    /// The rule, where the name does not say it.
    pub(super) rule: &'m str,
    /// The counts since the server started.
    pub(super) totals: Option<Sample>,
    /// The increases per second.
    pub(super) rates: Rates,
    /// The last counts.
    pub(super) track: Option<&'m Track>,
    /// The limit.
    pub(super) limit: String,
    /// What is special about it, in words.
    pub(super) state: String,
    /// Rules of a domain, or counters of a value.
    pub(super) count: usize,
    /// The used share of the fullest counter.
    pub(super) fullest: Option<f64>,
    /// The counter.
    pub(super) counter: Option<&'m Counter>,
    /// The denied check.
    pub(super) denial: Option<&'m Denial>,
}

impl<'m> Row<'m> {
    /// A row of which only the name is known.
    pub(super) fn new(target: Target, name: String) -> Self {
        Self {
            target,
            name,
            rule: "",
            totals: None,
            rates: Rates::default(),
            track: None,
            limit: String::new(),
            state: String::new(),
            count: 0,
            fullest: None,
            counter: None,
            denial: None,
        }
    }

    /// The same, with the counts of a track.
    pub(super) fn counted(self, track: Option<&'m Track>) -> Self {
        Self { totals: track.and_then(Track::last), rates: track.map(Track::rates).unwrap_or_default(), track, ..self }
    }

    /// The same, with those of one more track, which has no history in common with the others.
    pub(super) fn and_counted(&mut self, track: &'m Track) {
        let sum = |totals: Sample| track.last().map_or(totals, |other| totals.plus(other));
        self.totals = self.totals.map_or_else(|| track.last(), |totals| Some(sum(totals)));
        self.rates = self.rates.plus(track.rates());
        self.track = if self.count == 0 { Some(track) } else { None };
        self.count += 1;
    }

    /// The denied share of the checks: now, or since the server started.
    pub(super) fn denied_share(&self, totals: bool) -> Option<f64> {
        if totals { self.totals.and_then(Sample::denied_share) } else { self.rates.denied_share() }
    }
}

/// The used share of a counter, from 0 to 1; `None`: its limit is not known.
pub(super) fn fullness(counter: &Counter) -> Option<f64> {
    counter.period.as_ref()?;
    if counter.denied {
        return Some(1.0);
    }
    // A counter may have more hits than its limit allows: in a queue, or charged after the fact.
    if counter.remaining == 0 && counter.limit > 0 {
        return Some(1.0);
    }
    share(counter.used, counter.used.saturating_add(counter.remaining)).or(Some(0.0))
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// Checks, the most first.
    #[default]
    Checks,
    /// Denied checks, the most first.
    Denied,
    /// The denied share, the largest first.
    Share,
    /// Delayed checks, the most first.
    Delayed,
    /// The used share of the fullest counter, the largest first.
    Full,
    /// The name.
    Name,
}

impl Sort {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Checks, "checks"),
        (Self::Denied, "denied"),
        (Self::Share, "denied share"),
        (Self::Delayed, "delayed"),
        (Self::Full, "fullest counter"),
        (Self::Name, "name"),
    ];

    /// The one after it, or before it.
    pub(super) fn next(self, back: bool) -> Self {
        let at = Self::ALL.iter().position(|(sort, _)| *sort == self).unwrap_or(0);
        let step = if back { Self::ALL.len() - 1 } else { 1 };
        Self::ALL.get((at + step) % Self::ALL.len()).map_or(self, |(sort, _)| *sort)
    }

    /// In words.
    pub(super) fn words(self) -> &'static str {
        Self::ALL.iter().find(|(sort, _)| *sort == self).map(|(_, words)| *words).unwrap_or_default()
    }

    /// The order of two rows: by the rates, or by the `totals`, then by the totals, then by the name.
    pub(super) fn compare(self, a: &Row<'_>, b: &Row<'_>, totals: bool) -> Ordering {
        let count = |row: &Row<'_>| row.totals.unwrap_or_default();
        let by_name = || a.name.cmp(&b.name);
        let rate = |a: Option<f64>, b: Option<f64>| if totals { Ordering::Equal } else { most_first(a, b) };
        let order = match self {
            Self::Checks => rate(a.rates.checks, b.rates.checks).then_with(|| count(b).checks.cmp(&count(a).checks)),
            Self::Denied => rate(a.rates.denied, b.rates.denied).then_with(|| count(b).denied.cmp(&count(a).denied)),
            Self::Share => most_first(a.denied_share(totals), b.denied_share(totals))
                .then_with(|| count(b).denied.cmp(&count(a).denied)),
            Self::Delayed => {
                rate(a.rates.delayed, b.rates.delayed).then_with(|| count(b).delayed.cmp(&count(a).delayed))
            }
            Self::Full => most_first(a.fullest, b.fullest),
            Self::Name => Ordering::Equal,
        };
        order.then_with(by_name)
    }
}

/// What is not known comes last.
fn most_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0))
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;

    fn row(name: &str, checks: u64, denied: u64, rate: Option<f64>, fullest: Option<f64>) -> Row<'static> {
        let rates = Rates { checks: rate, denied: rate.map(|rate| 10.0 - rate), delayed: None };
        let totals = Some(Sample { checks, denied, ..Sample::default() });
        Row { totals, rates, fullest, ..Row::new(Target::Domain(name.to_owned()), name.to_owned()) }
    }

    #[test]
    fn orders() {
        let rows = [
            row("b", 10, 9, Some(5.0), Some(0.5)),
            row("a", 30, 3, Some(1.0), None),
            row("c", 20, 4, None, Some(0.75)),
            row("d", 20, 4, None, None),
        ];
        for (sort, totals, expected) in [
            (Sort::Checks, false, "bacd"),
            (Sort::Checks, true, "acdb"),
            (Sort::Denied, false, "abcd"),
            (Sort::Denied, true, "bcda"),
            (Sort::Share, true, "bcda"),
            (Sort::Full, false, "cbad"),
            (Sort::Name, false, "abcd"),
        ] {
            let mut rows = rows.to_vec();
            rows.sort_by(|a, b| sort.compare(a, b, totals));
            let order: String = rows.iter().map(|row| &*row.name).collect();
            assert_eq!(order, expected, "{sort:?} {totals}");
        }
    }

    #[test]
    fn sorts_follow_each_other_in_both_directions() {
        for (sort, _) in Sort::ALL {
            assert_eq!(sort.next(false).next(true), sort);
            assert_ne!(sort.next(false).words(), sort.words());
        }
    }

    #[test]
    fn fullnesses() {
        let counter = |limit, used, remaining, denied| Counter {
            limit,
            used,
            remaining,
            denied,
            period: Some(Duration::default()),
            ..Counter::default()
        };
        for (counter, expected) in [
            (counter(4, 1, 3, false), Some(0.25)),
            (counter(4, 0, 4, false), Some(0.0)),
            (counter(4, 9, 0, false), Some(1.0)),
            (counter(4, 0, 4, true), Some(1.0)),
            // Nothing is ever denied without a limit, and the limit of an override is not known.
            (counter(0, 0, 0, false), Some(0.0)),
            (Counter { period: None, ..counter(0, 3, 0, false) }, None),
        ] {
            assert_eq!(fullness(&counter), expected, "{counter:?}");
        }
    }

    #[test]
    fn a_row_of_several_tracks_has_their_sums_and_the_history_of_one() {
        let mut track = Track::new(3);
        track.add(Sample { checks: 5, denied: 2, ..Sample::default() });
        let mut row = Row::new(Target::Domain(String::new()), String::new());
        row.and_counted(&track);
        assert_eq!((row.totals.unwrap().checks, row.track.is_some(), row.count), (5, true, 1));
        row.and_counted(&track);
        assert_eq!((row.totals.unwrap().denied, row.track.is_some(), row.count), (4, false, 2));
    }
}
