//! A decision, in the form common to all front ends.

use smallvec::SmallVec;

use crate::engine::Reason;
use crate::rules::{Domain, Rule, RuleLimit, Unit};
use crate::units::Nanos;

/// The decision of one check.
#[derive(Clone, Debug, Default)]
pub struct Decision<'v> {
    /// The overall code.
    pub code: Code,
    /// One status for each descriptor, in order.
    pub statuses: SmallVec<[Status<'v>; 2]>,
    /// The index of the descriptor whose limit governs the answer: the one that denies, else the one with the least remaining.
    /// `None` if there is no limit.
    pub governing: Option<usize>,
    /// How long the reply is to be delayed, for hits that wait in a queue; zero when denied.
    pub delay: Nanos,
    /// How long the caller is advised to wait, for hits that wait in a queue; zero when denied.
    pub advice: Nanos,
    /// The domain, if it is configured.
    pub domain: Option<&'v Domain>,
}

impl Decision<'_> {
    /// The descriptor whose limit governs the answer. The statuses must be complete.
    pub(super) fn find_governing(&self) -> Option<usize> {
        if let [only] = &*self.statuses {
            return only.limit.map(|_| 0);
        }
        let limited = |descriptor: &usize| self.statuses.get(*descriptor).is_some_and(|status| status.limit.is_some());
        let denying = self.denied_by(|status| status.code == Code::OverLimit).filter(limited);
        let remaining = |descriptor: &usize| self.statuses.get(*descriptor).map(|status| status.remaining);
        denying.or_else(|| (0..self.statuses.len()).filter(limited).min_by_key(remaining))
    }

    /// The descriptor whose limit governs a denial: of those that are `over`, the one that decides the wait.
    ///
    /// A limit that denies by itself denies the check until it admits again, so of several the longest wait counts. Quotas deny
    /// only together, so of them the shortest wait counts, and none does while another quota admits.
    pub(super) fn denied_by(&self, over: impl Fn(&Status<'_>) -> bool) -> Option<usize> {
        let statuses = || self.statuses.iter().enumerate();
        let wait = |(_, status): &(usize, &Status<'_>)| status.reset;
        let denying = || statuses().filter(|(_, status)| over(status));
        let alone = denying().filter(|(_, status)| !status.quota).max_by_key(wait);
        let has_room = statuses().any(|(_, status)| !over(status) && status.quota);
        let quotas = denying().filter(|(_, status)| status.quota);
        let together = if has_room { None } else { quotas.min_by_key(wait) };
        alone.into_iter().chain(together).max_by_key(wait).map(|(descriptor, _)| descriptor)
    }
}

/// The code of a check or a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// Admitted.
    #[default]
    Ok,
    /// Denied.
    OverLimit,
}

impl Code {
    /// The code of all descriptors together: OVER_LIMIT if one that is not a quota is over, or if there are quotas and all of
    /// them are over.
    pub(super) fn overall(statuses: &[Status<'_>]) -> Self {
        let (mut quotas, mut quotas_over) = (0, 0);
        for status in statuses {
            let over = status.code == Self::OverLimit;
            if status.quota {
                quotas += 1;
                quotas_over += usize::from(over);
            } else if over {
                return Self::OverLimit;
            }
        }
        if quotas > 0 && quotas == quotas_over { Self::OverLimit } else { Self::Ok }
    }

    /// The name that it has in protocols and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::OverLimit => "OVER_LIMIT",
        }
    }
}

/// The status of one descriptor.
#[derive(Clone, Debug, Default)]
pub struct Status<'v> {
    /// Whether this descriptor allows the check.
    pub code: Code,
    /// The rule that it matched, unless another rule replaced it.
    pub rule: Option<&'v Rule>,
    /// The governing limit: of several limits the one that denies, else the one with the least share left.
    pub limit: Option<CurrentLimit<'v>>,
    /// The rule is unlimited.
    pub unlimited: bool,
    /// The descriptor is a quota: the check is admitted if one quota admits.
    pub quota: bool,
    /// Hits that are still allowed now.
    pub remaining: u64,
    /// See [`crate::engine::Outcome::reset`].
    pub reset: Nanos,
    /// How long the hits wait in a queue.
    pub delay: Nanos,
    /// Why it was denied; also set if it was admitted because of shadow mode.
    pub denied: Option<Reason>,
}

/// A limit, as statuses report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLimit<'v> {
    /// Hits allowed per period.
    pub requests_per_unit: u32,
    /// The unit of which the period is a whole multiple, if there is one.
    pub unit: Option<Unit>,
    /// The period in units.
    pub multiplier: u32,
    /// The period's length; of a calendar that of the present window.
    pub length: Nanos,
    /// The limit's name; empty when it has none.
    pub name: &'v str,
}

impl<'v> From<&'v RuleLimit> for CurrentLimit<'v> {
    fn from(limit: &'v RuleLimit) -> Self {
        Self {
            requests_per_unit: limit.requests_per_unit,
            unit: limit.period.unit,
            multiplier: limit.period.multiplier,
            length: limit.period.length,
            name: &limit.name,
        }
    }
}
