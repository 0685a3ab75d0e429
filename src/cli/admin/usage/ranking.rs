//! The rows that count most, of any number of pages.

use std::cmp::Reverse;

use clap::ValueEnum;

use crate::api::proto::tidegate::v1::{UsageCounts, UsageRow};

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// The most requests.
    Requests,
    /// The most denied requests.
    Denied,
}

/// The rows that count most so far, and the sums of all.
#[derive(Debug)]
pub(super) struct Ranking {
    order: Order,
    only_denied: bool,
    /// How many rows are kept.
    limit: usize,
    rows: Vec<UsageRow>,
    other: Option<UsageRow>,
    /// The number of rows that could be listed, without `other`.
    pub(super) groups: usize,
    /// The sums of all rows, also of those that are not listed.
    pub(super) total: Sums,
}

/// Requests, or checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) requests: u64,
    pub(super) denied: u64,
    pub(super) hits: u64,
}

impl Sums {
    pub(super) fn of(row: &UsageRow) -> Self {
        let UsageCounts { num_requests, num_requests_denied, hits, .. } = row.counts.unwrap_or_default();
        Self { requests: num_requests, denied: num_requests_denied, hits }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            denied: self.denied.saturating_add(other.denied),
            hits: self.hits.saturating_add(other.hits),
        }
    }
}

impl Ranking {
    /// No rows yet.
    pub(super) fn new(order: Order, only_denied: bool, limit: usize) -> Self {
        let total = Sums::default();
        Self { order, only_denied, limit, rows: Vec::new(), other: None, groups: 0, total }
    }

    /// Adds a page. A group is in one page only.
    pub(super) fn add(&mut self, page: Vec<UsageRow>) {
        for row in page {
            let sums = Sums::of(&row);
            self.total = self.total.plus(sums);
            if self.only_denied && sums.denied == 0 {
                continue;
            }
            if row.other {
                self.other = Some(row);
            } else {
                self.groups += 1;
                self.rows.push(row);
            }
        }
        let order = self.order;
        self.rows.sort_by_cached_key(|row| {
            let Sums { requests, denied, .. } = Sums::of(row);
            let counts = match order {
                Order::Requests => (requests, denied),
                Order::Denied => (denied, requests),
            };
            (Reverse(counts), row.domain.clone(), row.rule.clone(), row.entry_value.clone())
        });
        self.rows.truncate(self.limit);
    }

    /// The rows to list; `other` is the last one, whatever it counts.
    pub(super) fn rows(&self) -> impl Iterator<Item = &UsageRow> {
        self.rows.iter().chain(&self.other)
    }

    /// Whether rows without denials are left out.
    pub(super) fn only_denied(&self) -> bool {
        self.only_denied
    }

    /// The number of rows to list, without `other`.
    pub(super) fn listed(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &str, requests: u64, denied: u64) -> UsageRow {
        let counts = UsageCounts {
            num_requests: requests,
            num_requests_denied: denied,
            hits: requests,
            ..UsageCounts::default()
        };
        UsageRow { entry_value: value.into(), other: value == "other", counts: Some(counts), ..UsageRow::default() }
    }

    fn pages() -> [Vec<UsageRow>; 2] {
        [
            vec![row("ann", 5, 0), row("bob", 9, 1), row("cy", 9, 1)],
            vec![row("dan", 1, 1), row("eve", 7, 4), row("other", 9, 2)],
        ]
    }

    #[test]
    fn what_counts_most_comes_first() {
        let cases: [(Order, bool, usize, &[&str], usize); 5] = [
            (Order::Requests, false, 9, &["bob", "cy", "eve", "ann", "dan", "other"], 5),
            (Order::Requests, false, 2, &["bob", "cy", "other"], 5),
            (Order::Denied, false, 9, &["eve", "bob", "cy", "dan", "ann", "other"], 5),
            (Order::Denied, true, 9, &["eve", "bob", "cy", "dan", "other"], 4),
            (Order::Requests, true, 1, &["bob", "other"], 4),
        ];
        for (order, only_denied, limit, expected, groups) in cases {
            let mut ranking = Ranking::new(order, only_denied, limit);
            for page in pages() {
                ranking.add(page);
            }
            let names: Vec<_> = ranking.rows().map(|row| row.entry_value.as_str()).collect();
            assert_eq!((names.as_slice(), ranking.groups), (expected, groups), "{order:?} {only_denied} {limit}");
            assert_eq!(ranking.total, Sums { requests: 40, denied: 9, hits: 40 }, "the total leaves nothing out");
            assert_eq!(ranking.listed(), expected.len() - 1);
        }
    }

    #[test]
    fn sums_do_not_overflow() {
        let mut ranking = Ranking::new(Order::Requests, false, 1);
        ranking.add(vec![row("a", u64::MAX, u64::MAX), row("b", 1, 1)]);
        assert_eq!(ranking.total, Sums { requests: u64::MAX, denied: u64::MAX, hits: u64::MAX });
    }
}
