//! A rule as it is in force for a descriptor, and what it needs in addition to its configuration.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::rules::Rule;
use crate::store::{Fingerprint, LimitId};
use crate::usage::RuleUsage;

/// A rule as it is in force for a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct InForce<'v> {
    /// The rule with the values of settings.
    pub(super) rule: &'v Rule,
    /// What it needs in addition.
    pub(super) attached: &'v Attached,
    /// False: its domain, or everything, is switched off.
    pub(super) enabled: bool,
    /// What the narrowest setting says about shadow mode; `None`: there is none, so the rule and the process say it.
    pub(super) shadow_setting: Option<bool>,
}

impl InForce<'_> {
    /// Whether what is over its limits is admitted, apart from the shadow mode of the process.
    pub(super) fn shadow_mode(&self) -> bool {
        self.shadow_setting.unwrap_or(self.rule.shadow_mode)
    }
}

/// A rule as it is in force for checks with certain entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'v> {
    /// The entries; none for all checks.
    pub(super) entries: &'v [(String, String)],
    /// The rule with the values of settings.
    pub(super) rule: &'v Rule,
}

/// What a rule needs in addition to its configuration.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    /// One for each limit.
    pub(super) limit_ids: SmallVec<[LimitId; 1]>,
    /// The fingerprint of the rule, for the keys of its counters' series.
    pub(super) fingerprint: Fingerprint,
    /// The rule's statistics.
    pub(super) usage: Arc<RuleUsage>,
    /// The metrics are by values, not by the rule's path.
    pub(super) metrics_by_value: bool,
}
