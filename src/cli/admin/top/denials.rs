//! The last denied checks.

use std::collections::VecDeque;

use crate::api::proto::tidegate::v1::{Denial, DenialReport};

/// The last denied checks, the latest first.
#[derive(Debug, Default)]
pub(super) struct Denials {
    latest: VecDeque<Denial>,
    dropped: u64,
}

impl Denials {
    /// Adds the denials of a message, whose oldest is first.
    pub(super) fn add(&mut self, report: DenialReport) {
        self.dropped = self.dropped.saturating_add(report.num_dropped);
        for denial in report.denials {
            if self.latest.len() >= MAX_DENIALS {
                self.latest.pop_back();
            }
            self.latest.push_front(denial);
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All of them, the latest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Denial> {
        self.latest.iter()
    }

    /// Denials that were not received, because there were too many at once.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Denied checks that are kept: some screens.
const MAX_DENIALS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let mut denials = Denials::default();
        for n in 0..MAX_DENIALS + 50 {
            let denial = Denial { domain: n.to_string(), ..Denial::default() };
            denials.add(DenialReport { denials: vec![denial], num_dropped: 2, ..DenialReport::default() });
        }
        let kept: Vec<_> = denials.iter().map(|denial| denial.domain.as_str()).collect();
        assert_eq!((kept.len(), kept[0], kept[MAX_DENIALS - 1]), (MAX_DENIALS, "249", "50"));
        assert_eq!(denials.dropped(), 500);
    }
}
