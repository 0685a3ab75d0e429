//! Reports a denied check to those who listen: once, whichever of its descriptors were denied.

use super::charge::{Outcomes, limits};
use super::resolve::{Limited, Resolved};
use super::{Check, Code, Decision, Status};
use crate::engine::{Outcome, Reason, Verdict};
use crate::units::Timestamp;
use crate::usage::{Denial, Denials, DeniedDescriptor, DeniedLimit, RuleName};

/// A check whose answer is known.
pub(super) struct Concluded<'s, 'v, 'c> {
    pub(super) check: &'s Check<'c>,
    pub(super) resolved: &'s [Resolved<'v>],
    pub(super) outcomes: &'s [Outcomes],
    pub(super) decision: &'s Decision<'v>,
    /// No check is denied, whatever its limits say.
    pub(super) global_shadow: bool,
    /// Every descriptor is a quota.
    pub(super) quota_mode: bool,
    pub(super) now: Timestamp,
}

impl Concluded<'_, '_, '_> {
    /// Offers the check to listeners if it was denied, or if only shadow mode let it pass.
    ///
    /// `code` is the answer before global shadow mode, `overall` gives the answer of statuses. Cost: nothing more than a
    /// look at the statuses for a check that no limit denied.
    pub(super) fn report(&self, denials: &Denials, code: Code, overall: impl Fn(&[Status<'_>]) -> Code) {
        let statuses = &self.decision.statuses;
        if statuses.iter().all(|status| status.denied.is_none()) || !denials.is_watched() {
            return;
        }
        // Without the shadow mode of rules, which is in the statuses already.
        let unmasked = || statuses.iter().map(unmasked).collect::<Vec<_>>();
        if code == Code::OverLimit || overall(&unmasked()) == Code::OverLimit {
            let denies = |status: &Status<'_>| match code {
                Code::OverLimit => status.code == Code::OverLimit,
                Code::Ok => status.denied.is_some(),
            };
            denials.offer(|| self.denial(denies, code == Code::Ok || self.global_shadow));
        }
    }

    /// The denial as listeners are told it.
    #[cold]
    fn denial(&self, denies: impl Fn(&Status<'_>) -> bool, shadow: bool) -> Option<Denial> {
        let by = self.decision.denied_by(self.quota_mode, &denies)?;
        let mut limits = self.denied(denies);
        // Of the descriptor's limits the one with the longest wait, which is the one in its status.
        let of_it = limits.iter().enumerate().filter(|(_, limit)| limit.descriptor == by);
        let governing = of_it.max_by_key(|(_, limit)| limit.outcome.reset)?.0;
        let governing = self.limit(&limits.remove(governing));
        let (descriptors, entries_omitted) = self.descriptors(governing.descriptor);
        Some(Denial {
            at: self.now,
            domain: self.check.domain.to_string(),
            descriptors,
            entries_omitted,
            governing,
            others: limits.iter().take(MAX_OTHERS).map(|limit| self.limit(limit)).collect(),
            limits_omitted: u32::try_from(limits.len().saturating_sub(MAX_OTHERS)).unwrap_or(u32::MAX),
            shadow,
        })
    }

    /// The limits that denied the descriptors with such a status, in their order.
    fn denied(&self, denies: impl Fn(&Status<'_>) -> bool) -> Vec<Denied<'_, '_>> {
        let mut found = Vec::new();
        let parts = self.resolved.iter().zip(self.outcomes);
        for (descriptor, (status, (one, outcomes))) in self.decision.statuses.iter().zip(parts).enumerate() {
            let both = limits(one).iter().zip(outcomes.iter().map(|charged| &charged.outcome));
            for (limited, outcome) in both.filter(|_| denies(status)) {
                if let Verdict::Denied(reason) = outcome.verdict {
                    found.push(Denied { descriptor, limited, outcome, reason });
                }
            }
        }
        found
    }

    fn limit(&self, denied: &Denied<'_, '_>) -> DeniedLimit {
        let Denied { descriptor, limited, outcome, reason } = *denied;
        let rule = self.decision.statuses.get(descriptor).and_then(|status| status.rule);
        let current = limited.current();
        DeniedLimit {
            rule: rule.map_or_else(|| RuleName::for_overrides(&self.check.domain).path, |rule| rule.path.clone()),
            descriptor,
            hits: self.check.descriptors.get(descriptor).map_or(0, |one| self.check.hits(one)),
            requests_per_unit: current.requests_per_unit,
            period: current.length,
            reason,
            retry_after: outcome.reset,
        }
    }

    /// The descriptors as far as the bounds go, the governing one first of all, and how many entries are left out.
    fn descriptors(&self, governing: usize) -> (Vec<DeniedDescriptor>, u32) {
        let all = || self.check.descriptors.iter().enumerate();
        let ordered =
            all().filter(|(index, _)| *index == governing).chain(all().filter(|(index, _)| *index != governing));
        let (mut kept, mut bytes, mut count) = (Vec::new(), 0, 0);
        for (index, descriptor) in ordered {
            let mut entries = Vec::new();
            for entry in &descriptor.entries {
                let length = shown(&entry.key) + shown(&entry.value);
                if count >= MAX_ENTRIES || bytes + length > MAX_BYTES {
                    break;
                }
                (bytes, count) = (bytes + length, count + 1);
                entries.push((cut(&entry.key), cut(&entry.value)));
            }
            if !entries.is_empty() || index == governing {
                kept.push(DeniedDescriptor { index, entries });
            }
        }
        kept.sort_by_key(|descriptor| descriptor.index);
        let entries: usize = self.check.descriptors.iter().map(|descriptor| descriptor.entries.len()).sum();
        (kept, u32::try_from(entries - count).unwrap_or(u32::MAX))
    }
}

/// A limit that denied a descriptor.
struct Denied<'a, 'v> {
    descriptor: usize,
    limited: &'a Limited<'v>,
    outcome: &'a Outcome,
    reason: Reason,
}

/// The status without the shadow mode of its rule.
fn unmasked<'v>(status: &Status<'v>) -> Status<'v> {
    Status { code: if status.denied.is_some() { Code::OverLimit } else { Code::Ok }, ..status.clone() }
}

/// The text, its end left out where it is longer than that.
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    format!("{}{CUT}", text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default())
}

/// The bytes of a text that is cut, at most.
fn shown(text: &str) -> usize {
    if text.len() <= MAX_TEXT_BYTES { text.len() } else { MAX_TEXT_BYTES + CUT.len() }
}

/// Limits beside the governing one that listeners are told: more say nothing new.
const MAX_OTHERS: usize = 16;
/// Entries of a denied check that listeners are told: four times as many as checks of several levels have.
const MAX_ENTRIES: usize = 64;
/// Bytes of all of them together: 16,384 such checks are kept.
const MAX_BYTES: usize = 4_096;
/// Bytes of a key or a value that listeners are told: enough to know it by.
const MAX_TEXT_BYTES: usize = 200;
/// What stands where the rest of a text is left out.
const CUT: &str = "...";
