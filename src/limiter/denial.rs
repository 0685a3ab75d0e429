//! Reports each denied check to listeners once, however many of its descriptors were denied.

use super::decision::{Code, Decision, Status};
use super::evaluation::Evaluation;
use super::outcome::Outcomes;
use super::resolve::{Limited, Resolved};
use crate::engine::{Outcome, Reason, Verdict};
use crate::usage::{Denial, DeniedDescriptor, DeniedLimit, RuleName};

/// Offers the check to listeners if it was denied, or admitted only because of shadow mode.
#[cold]
pub(super) fn report<'v>(
    evaluation: Evaluation<'v, '_, '_>,
    resolved: &[Resolved<'v>],
    outcomes: &[Outcomes],
    decision: &Decision<'v>,
) {
    let concluded = Concluded { evaluation, resolved, outcomes, decision };
    // The code before the shadow mode of the process.
    let stated = match decision.code {
        Code::OverLimit => Code::OverLimit,
        Code::Ok => Code::overall(&decision.statuses),
    };
    // Undoes the shadow mode of rules, which the statuses include.
    let unmasked = || decision.statuses.iter().map(unmasked).collect::<Vec<_>>();
    if stated == Code::OverLimit || Code::overall(&unmasked()) == Code::OverLimit {
        let denies = |status: &Status<'_>| match stated {
            Code::OverLimit => status.code == Code::OverLimit,
            Code::Ok => status.denied.is_some(),
        };
        let shadow = decision.code == Code::Ok;
        evaluation.usage.denials().offer(|| concluded.denial(denies, shadow));
    }
}

/// A decided check.
struct Concluded<'s, 'v, 'c> {
    evaluation: Evaluation<'v, 's, 'c>,
    resolved: &'s [Resolved<'v>],
    outcomes: &'s [Outcomes],
    decision: &'s Decision<'v>,
}

impl Concluded<'_, '_, '_> {
    /// The denial to report.
    fn denial(&self, denies: impl Fn(&Status<'_>) -> bool, shadow: bool) -> Option<Denial> {
        let Evaluation { check, now, .. } = self.evaluation;
        let by = self.decision.denied_by(&denies)?;
        let mut limits = self.denied(denies);
        let governing = limits.iter().position(|limit| limit.descriptor == by && limit.governs)?;
        let governing = self.limit(&limits.remove(governing));
        let (descriptors, entries_omitted) = self.descriptors(governing.descriptor);
        Some(Denial {
            at: now,
            domain: check.domain.to_string(),
            descriptors,
            entries_omitted,
            governing,
            others: limits.iter().take(MAX_OTHERS).map(|limit| self.limit(limit)).collect(),
            limits_omitted: u32::try_from(limits.len().saturating_sub(MAX_OTHERS)).unwrap_or(u32::MAX),
            shadow,
        })
    }

    /// The limits that denied the descriptors for which `denies` is true, in their order.
    fn denied(&self, denies: impl Fn(&Status<'_>) -> bool) -> Vec<Denied<'_, '_>> {
        let mut found = Vec::new();
        let parts = self.resolved.iter().zip(self.outcomes);
        for (descriptor, (status, (resolved, outcomes))) in self.decision.statuses.iter().zip(parts).enumerate() {
            if !denies(status) {
                continue;
            }
            for (nth, (limited, outcome)) in outcomes.with_limits(resolved.limits()).enumerate() {
                if let Verdict::Denied(reason) = outcome.verdict {
                    let governs = nth == outcomes.governing_index();
                    found.push(Denied { descriptor, limited, outcome, reason, governs });
                }
            }
        }
        found
    }

    fn limit(&self, denied: &Denied<'_, '_>) -> DeniedLimit {
        let Denied { descriptor, limited, outcome, reason, .. } = *denied;
        let check = self.evaluation.check;
        let rule = self.decision.statuses.get(descriptor).and_then(|status| status.rule);
        let current = limited.current(self.evaluation.now);
        DeniedLimit {
            rule: rule.map_or_else(|| RuleName::for_overrides(&check.domain).path, |rule| rule.path.clone()),
            descriptor,
            hits: check.descriptors.get(descriptor).map_or(0, |asked| check.hits(asked)),
            requests_per_unit: current.requests_per_unit,
            period: current.length,
            calendar: limited.limit().calendar(),
            reason,
            retry_after: outcome.reset,
        }
    }

    /// The descriptors within the bounds, including the governing one, and the number of entries that are left out.
    fn descriptors(&self, governing: usize) -> (Vec<DeniedDescriptor>, u32) {
        let all = || self.evaluation.check.descriptors.iter().enumerate();
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
        let entries: usize = self.evaluation.check.descriptors.iter().map(|descriptor| descriptor.entries.len()).sum();
        (kept, u32::try_from(entries - count).unwrap_or(u32::MAX))
    }
}

/// A limit that denied a descriptor.
struct Denied<'a, 'v> {
    descriptor: usize,
    limited: &'a Limited<'v>,
    outcome: &'a Outcome,
    reason: Reason,
    /// Whether it is the governing limit of its descriptor.
    governs: bool,
}

/// The status, ignoring the shadow mode of its rule.
fn unmasked<'v>(status: &Status<'v>) -> Status<'v> {
    Status { code: if status.denied.is_some() { Code::OverLimit } else { Code::Ok }, ..status.clone() }
}

/// The text, cut if it is too long.
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    format!("{}{CUT}", text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default())
}

/// The bytes of a text that are reported.
fn shown(text: &str) -> usize {
    if text.len() <= MAX_TEXT_BYTES { text.len() } else { MAX_TEXT_BYTES + CUT.len() }
}

/// Limits reported besides the governing one: more add nothing.
const MAX_OTHERS: usize = 16;
/// Entries of a denied check that are reported: four times as many as deep checks have.
const MAX_ENTRIES: usize = 64;
/// Bytes of all of them together, because 16,384 such checks are kept.
const MAX_BYTES: usize = 4_096;
/// Bytes of a key or a value that are reported: enough to recognize it.
const MAX_TEXT_BYTES: usize = 200;
/// Ends a text whose rest is left out.
const CUT: &str = "...";
