//! What is to be asked for a check.

use smallvec::{SmallVec, smallvec};

use super::ballot::are_admitted;
use super::{Answered, Answers, Asking, Sharing, Step};
use crate::engine::{self, Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome};
use crate::engine_link::{KeyedCharge, PlainBatch, SharedCheck, SharedKey};
use crate::limiter::charges::{Charging, charges_of, groups_of};
use crate::limiter::evaluation::Evaluation;
use crate::limiter::resolve::Resolved;
use crate::rules;
use crate::store::{
    Charge, Charged, CounterKeys, CounterState, Fingerprint, Group, KeyReader, LimitId, LimitIds, LimitKind, Role,
};
use crate::units::Timestamp;

/// Where the names of counters come from, and the time.
#[derive(Clone, Copy)]
pub(in crate::limiter) struct AskContext<'a> {
    pub(in crate::limiter) sharing: &'a Sharing,
    pub(in crate::limiter) limit_ids: &'a LimitIds,
    /// The time of the store.
    pub(in crate::limiter) engine_now: Timestamp,
}

impl AskContext<'_> {
    /// What is to be asked for a check of a configured domain.
    pub(in crate::limiter) fn ask(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        resolved: &[Resolved<'_>],
        keys: &CounterKeys,
    ) -> Asking {
        let mut asking = Asking { answers: Answers::default(), checks: SmallVec::new() };
        if evaluation.domain.charge == rules::Charge::AllOrNothing {
            let Charging { groups, charges } = groups_of(evaluation, resolved, keys);
            let rules: SmallVec<[_; 4]> =
                resolved.iter().flat_map(|resolved| resolved.limits().iter().map(|_| fingerprint(resolved))).collect();
            self.step(evaluation, &groups, &charges, &rules, &mut asking);
            return asking;
        }
        for (descriptor, resolved) in evaluation.check.descriptors.iter().zip(resolved) {
            let charges = charges_of(resolved, keys, evaluation.op(descriptor));
            let groups: SmallVec<[Group; 1]> =
                if charges.len() > 1 { smallvec![Group::required(charges.len())] } else { SmallVec::new() };
            let rules: SmallVec<[_; 4]> = charges.iter().map(|_| fingerprint(resolved)).collect();
            self.step(evaluation, &groups, &charges, &rules, &mut asking);
        }
        asking
    }

    /// Adds one step of charges. `rules` are the fingerprints of their rules.
    fn step(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        groups: &[Group],
        charges: &[Charge<'_>],
        rules: &[Fingerprint],
        asking: &mut Asking,
    ) {
        let known: SmallVec<[_; 4]> =
            charges.iter().map(|charge| evaluation.store.state(LimitKind::from(charge.limit), charge.key)).collect();
        if let Some(answered) = self.known(groups, charges, &known) {
            asking.answers.0.push(Step::Known(answered));
            return;
        }
        let keyed = charges.iter().zip(rules).map(|(charge, rule)| self.keyed(charge, *rule));
        let is_plain = match (groups, charges, &known[..]) {
            ([], [only], [Some(CounterState::Cell(cell))]) => self.is_plain(only, *cell),
            _ => false,
        };
        let check = SharedCheck { groups: groups.into(), charges: keyed.collect(), is_plain };
        asking.checks.push((asking.answers.0.len(), check));
        asking.answers.0.push(Step::Down);
    }

    /// The outcome of a step that asks nobody: of looks, of nothing, and of what a ban denies that is known here.
    fn known(self, groups: &[Group], charges: &[Charge<'_>], known: &[Option<CounterState>]) -> Option<Answered> {
        let are_looks = charges.iter().all(|charge| charge.op == Op::Charge(0));
        if !are_looks && !self.is_banned(groups, charges, known) {
            return None;
        }
        // What a ban denies charges no other counter.
        let op = |charge: &Charge<'_>, state: &Option<CounterState>| match state {
            Some(state) if is_ban(state, self.engine_now) => charge.op,
            _ => Op::Charge(0),
        };
        let outcomes = charges.iter().zip(known).map(|(charge, state)| {
            let outcome = peek(charge.limit, state.clone(), self.engine_now, op(charge, state));
            Charged { outcome, series_id: None }
        });
        let outcomes: SmallVec<[Charged; 1]> = outcomes.collect();
        let admitted = are_admitted(groups, &outcomes);
        Some(Answered { outcomes, admitted })
    }

    /// Whether a ban denies the step that is known here, and need not be asked for.
    fn is_banned(self, groups: &[Group], charges: &[Charge<'_>], known: &[Option<CounterState>]) -> bool {
        let counts = |charge: &Charge<'_>| matches!(charge.op, Op::Refund(_)) || charge.limit.keeps_denied();
        if charges.len() > 1 && charges.iter().any(counts) {
            return false;
        }
        let mut roles = groups.iter().flat_map(|group| std::iter::repeat_n(group.role, group.charges));
        charges.iter().zip(known).any(|(charge, state)| {
            let role = roles.next().unwrap_or(Role::Required);
            let Some(state) = state.as_ref().filter(|_| role == Role::Required) else { return false };
            let is_charge = matches!(charge.op, Op::Charge(1..));
            let is_operators = match state {
                CounterState::Cell(cell) => cell.operator_ban_end().is_some(),
                CounterState::Log(log) => log.operator_ban_end().is_some(),
            };
            let is_in_force = is_operators || charge.limit.ban.is_some();
            is_charge
                && is_in_force
                && is_ban(state, self.engine_now)
                && (is_operators || !self.sharing.banned.is_due(self.engine_now, charge.key))
        })
    }

    /// Whether a charge can be made by INCRBY: its window has been charged before, so that it has its expiry.
    fn is_plain(self, charge: &Charge<'_>, cell: Cell) -> bool {
        let (end, count) = cell.to_parts();
        count > 0
            && PlainBatch::takes(charge.limit, charge.op)
            && PlainBatch::window_of(charge.limit, self.engine_now) == Some(end)
    }

    /// A charge with the name of its counter on the store.
    fn keyed(self, charge: &Charge<'_>, rule: Fingerprint) -> KeyedCharge {
        let (limit, parts) = match KeyReader::new(charge.key) {
            Some((LimitId::OVERRIDE, parts)) => (Fingerprint::OVERRIDE, parts.rest()),
            // Its limit is in force, so it has a fingerprint.
            Some((id, parts)) => (self.limit_ids.fingerprint(id).unwrap_or(Fingerprint::OVERRIDE), parts.rest()),
            None => (Fingerprint::OVERRIDE, charge.key),
        };
        let key = SharedKey::new(&self.sharing.prefix, rule, limit, parts);
        KeyedCharge { key, limit: *charge.limit, op: charge.op }
    }
}

/// The fingerprint of the rule that a descriptor matched.
fn fingerprint(resolved: &Resolved<'_>) -> Fingerprint {
    resolved.in_force().map_or(Fingerprint::OVERRIDE, |in_force| in_force.attached.fingerprint)
}

fn is_ban(state: &CounterState, now: Timestamp) -> bool {
    match state {
        CounterState::Cell(cell) => cell.is_banned(now),
        CounterState::Log(log) => log.is_banned(now),
    }
}

/// The outcome of an operation on a copy of a state.
pub(super) fn peek(limit: &Limit, state: Option<CounterState>, now: Timestamp, op: Op) -> Outcome {
    let limit = Limit { count_denied: CountDenied::Never, ..*limit };
    match state {
        Some(CounterState::Log(mut log)) => engine::log::step(&limit, &mut log, now, op, false),
        Some(CounterState::Cell(cell)) => engine::step(&limit, cell, now, op).0,
        None if limit.algorithm == Algorithm::SlidingLog => {
            engine::log::step(&limit, &mut Log::FRESH.clone(), now, op, false)
        }
        None => engine::step(&limit, Cell::FRESH, now, op).0,
    }
}
