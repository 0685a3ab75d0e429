//! What was decided, as every front end tells it.

use smallvec::SmallVec;

use crate::engine::Reason;
use crate::rules::{Domain, Rule, RuleLimit, Unit};
use crate::units::Nanos;

/// The answer to one check.
#[derive(Clone, Debug, Default)]
pub struct Decision<'v> {
    /// The overall answer.
    pub code: Code,
    /// One status for each descriptor, in order.
    pub statuses: SmallVec<[Status<'v>; 2]>,
    /// How long the answer is to be held, for hits that wait in a queue; zero when denied.
    pub hold: Nanos,
    /// How long the caller is advised to wait, for hits that wait in a queue; zero when denied.
    pub advice: Nanos,
    /// The domain, if it is configured.
    pub domain: Option<&'v Domain>,
}

/// Whether something may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// It may.
    #[default]
    Ok,
    /// It may not.
    OverLimit,
}

/// The answer to one descriptor.
#[derive(Clone, Debug, Default)]
pub struct Status<'v> {
    /// Whether this descriptor allows the check.
    pub code: Code,
    /// The rule that it matched, if one did and nothing replaced it.
    pub rule: Option<&'v Rule>,
    /// The limit that speaks: of several the one that denies, else the one with the least share left.
    pub limit: Option<CurrentLimit<'v>>,
    /// The rule says that there is no limit.
    pub unlimited: bool,
    /// Hits that could be spent right now.
    pub remaining: u64,
    /// See [`crate::engine::Outcome::reset`].
    pub reset: Nanos,
    /// How long the hits wait in a queue.
    pub delay: Nanos,
    /// Why it was denied; also set when shadow mode turned the denial around.
    pub denied: Option<Reason>,
}

/// A limit, as statuses tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentLimit<'v> {
    /// Hits allowed per period.
    pub requests_per_unit: u32,
    /// The unit of which the period is a whole multiple, if there is one.
    pub unit: Option<Unit>,
    /// How many units the period is.
    pub multiplier: u32,
    /// The period's length.
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
