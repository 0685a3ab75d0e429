//! The context of every step from a check to its decision.

use super::check::{Check, Descriptor};
use super::plan::Plan;
use super::resolve::Resolved;
use super::settings::Settings;
use crate::engine::Op;
use crate::rules::Domain;
use crate::store::Memory;
use crate::units::Timestamp;
use crate::usage::{Usage, WorkerSlot};

/// One check of a configured domain, with everything needed to decide it. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation<'v, 's, 'c> {
    pub(super) check: &'s Check<'c>,
    pub(super) plan: &'v Plan,
    pub(super) domain: &'v Domain,
    pub(super) store: &'v Memory,
    pub(super) usage: &'v Usage,
    pub(super) settings: &'v Settings,
    pub(super) worker: WorkerSlot,
    pub(super) now: Timestamp,
}

impl Evaluation<'_, '_, '_> {
    /// The operation of the descriptor on each of its counters.
    pub(super) fn op(&self, descriptor: &Descriptor<'_>) -> Op {
        let hits = self.check.hits(descriptor);
        if descriptor.refund { Op::Refund(hits) } else { Op::Charge(hits) }
    }

    /// Whether the descriptor denies nothing because the process is in shadow mode, and no setting says otherwise.
    pub(super) fn in_process_shadow(&self, resolved: &Resolved<'_>) -> bool {
        self.settings.shadow_mode && resolved.shadow_setting().is_none()
    }

    /// Whether the descriptor denies nothing.
    pub(super) fn is_shadow(&self, resolved: &Resolved<'_>) -> bool {
        self.in_process_shadow(resolved) || resolved.shadow_mode()
    }

    /// Whether the descriptor is a quota, which denies the check only together with the others. Unlimited ones never are: they
    /// would admit a check whose quotas are all over.
    pub(super) fn is_quota(&self, resolved: &Resolved<'_>) -> bool {
        match resolved {
            Resolved::Free(in_force) if in_force.rule.unlimited => false,
            Resolved::Rule(in_force, _) if in_force.rule.quota_mode => true,
            _ => self.settings.quota_mode,
        }
    }
}
