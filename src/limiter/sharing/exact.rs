//! Steps of exact counters, which the store charges.

use smallvec::SmallVec;

use super::Shared;
use super::ballot::are_admitted;
use super::member::Member;
use super::progress::{Answered, Progress, Step};
use crate::engine::{self, Algorithm, Cell, CountDenied, Limit, Log, Op, Outcome};
use crate::engine_link::{CheckOutcome, How, KeyPrefix, KeyedCharge, PlainBatch, SharedCheck, SharedKey, SlotName};
use crate::limiter::evaluation::Evaluation;
use crate::limiter::keys::{DecodedKey, DecodedLimit, decode};
use crate::store::{
    Charge, Charged, CounterState, Fingerprint, Group, KeyReader, LimitId, LimitIds, LimitKind, Memory, Role,
};
use crate::units::Timestamp;

impl Shared<'_> {
    /// Decides a step that need not be asked for, or asks for it. Without members in a cluster's slot it waits.
    pub(super) fn exact(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        (place, groups, members): (usize, &[Group], &[Member<'_>]),
    ) -> Step {
        match self.known_or_asked(evaluation.store, groups, members) {
            Ok(outcomes) => Step::Known(Answered { admitted: are_admitted(groups, &outcomes), outcomes }),
            Err(_) if progress.is_over => Step::Known(self.answered(evaluation, progress, groups, members, None)),
            Err(check) => {
                progress.ask(place, check);
                Step::Exact
            }
        }
    }

    /// The outcomes of members that need not be asked for.
    ///
    /// # Errors
    /// They have to be: this is what to ask.
    pub(super) fn known_or_asked(
        self,
        store: &Memory,
        groups: &[Group],
        members: &[Member<'_>],
    ) -> Result<SmallVec<[Charged; 1]>, Box<SharedCheck>> {
        let state = |member: &Member<'_>| store.state(LimitKind::from(member.charge.limit), member.charge.key);
        let known: SmallVec<[_; 4]> = members.iter().map(state).collect();
        if let Some(outcomes) = self.known(groups, members, &known) {
            return Ok(outcomes);
        }
        let how = match (groups, members, &known[..]) {
            ([], [only], [Some(CounterState::Cell(cell))]) if self.is_plain(&only.charge, *cell) => How::Plain,
            _ => How::Script,
        };
        let charges = members.iter().map(|member| self.keyed(member)).collect();
        Err(Box::new(SharedCheck { groups: groups.into(), charges, how }))
    }

    /// What a step says that was asked for; without an outcome, what is answered without the store.
    pub(super) fn answered(
        self,
        evaluation: Evaluation<'_, '_, '_>,
        progress: &mut Progress,
        groups: &[Group],
        members: &[Member<'_>],
        outcome: Option<CheckOutcome>,
    ) -> Answered {
        let (sharing, store, now) = (self.sharing, evaluation.store, self.now.engine);
        let Some(outcome) = outcome.filter(|outcome| outcome.counters.len() == members.len()) else {
            progress.down = progress.down.or(members.first().map(|member| member.when_down));
            for Member { charge, .. } in members.iter().filter(|member| member.charge.limit.ban.is_none()) {
                sharing.asked.forget(charge.key);
            }
            let outcomes = sharing.step_without_store(store, now, groups, members);
            return Answered { admitted: are_admitted(groups, &outcomes), outcomes };
        };
        let of_counter = |(member, counter): (&Member<'_>, &Option<_>)| match counter {
            Some(known) => note(store, now, &member.charge, known),
            // A value that is not ours fails its counter, not the others.
            None => sharing.without_store(store, now, member),
        };
        let outcomes: SmallVec<[Charged; 1]> = members.iter().zip(&outcome.counters).map(of_counter).collect();
        let is_complete = outcome.counters.iter().all(Option::is_some);
        let admitted = outcome.admitted && (is_complete || are_admitted(groups, &outcomes));
        Answered { outcomes, admitted }
    }

    /// The outcomes of a step that asks nobody: of looks, of nothing, and of what is denied by a ban or a used-up limit that is known here.
    fn known(
        self,
        groups: &[Group],
        members: &[Member<'_>],
        known: &[Option<CounterState>],
    ) -> Option<SmallVec<[Charged; 1]>> {
        if let ([Member { charge, .. }], [Some(state)]) = (members, known)
            && groups.iter().all(|group| group.role == Role::Required)
            && let Some(outcome) = self.used_up(charge, state)
        {
            return Some(SmallVec::from_buf([Charged { outcome, series_id: None }]));
        }
        let are_looks = members.iter().all(|member| member.charge.op == Op::Charge(0));
        if !are_looks && !self.is_banned(groups, members, known) {
            return None;
        }
        // What a ban denies charges no other counter.
        let op = |charge: &Charge<'_>, state: &Option<CounterState>| match state {
            Some(state) if is_ban(state, self.now.engine) => charge.op,
            _ => Op::Charge(0),
        };
        let outcomes = members.iter().zip(known).map(|(Member { charge, .. }, state)| {
            let outcome = peek(charge.limit, state.clone(), self.now.engine, op(charge, state));
            Charged { outcome, series_id: None }
        });
        Some(outcomes.collect())
    }

    /// Whether a ban denies the step that is known here, and need not be asked for.
    fn is_banned(self, groups: &[Group], members: &[Member<'_>], known: &[Option<CounterState>]) -> bool {
        let counts =
            |Member { charge, .. }: &Member<'_>| matches!(charge.op, Op::Refund(_)) || charge.limit.keeps_denied();
        if members.len() > 1 && members.iter().any(counts) {
            return false;
        }
        let mut roles = groups.iter().flat_map(|group| std::iter::repeat_n(group.role, group.charges));
        members.iter().zip(known).any(|(Member { charge, .. }, state)| {
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
                && is_ban(state, self.now.engine)
                && (is_operators || !self.sharing.asked.is_due(self.now.engine, charge.key))
        })
    }

    /// The outcome if a limit is known to deny a charge, and need not be asked for: other replicas can only have spent more. Not where a
    /// denial changes the counter, and not of a log, of which the times are not known here.
    fn used_up(self, charge: &Charge<'_>, state: &CounterState) -> Option<Outcome> {
        let Charge { limit, key, op: op @ Op::Charge(1..) } = *charge else { return None };
        let is_changed = limit.counts_denied() || limit.ban.is_some();
        if is_changed || limit.algorithm == Algorithm::SlidingLog || is_ban(state, self.now.engine) {
            return None;
        }
        let outcome = peek(limit, Some(state.clone()), self.now.engine, op);
        (!outcome.admitted() && !self.sharing.asked.is_due(self.now.engine, key)).then_some(outcome)
    }

    /// Whether a charge can be made by INCRBY: its window has been charged before, so that it has its expiry.
    fn is_plain(self, charge: &Charge<'_>, cell: Cell) -> bool {
        let (end, count) = cell.to_parts();
        count > 0
            && PlainBatch::takes(charge.limit, charge.op)
            && PlainBatch::window_of(charge.limit, self.now.engine) == Some(end)
    }

    /// A charge with the name of its counter on the store.
    fn keyed(self, member: &Member<'_>) -> KeyedCharge {
        let Member { charge, rule, slot, .. } = *member;
        let key = name(&self.sharing.prefix, self.limit_ids, charge.key, rule, slot);
        KeyedCharge { key, limit: *charge.limit, op: charge.op }
    }
}

/// The name on the store of the counter with this key. `slot` is the key of the entry that decides about its slot.
pub(super) fn name(
    prefix: &KeyPrefix,
    limit_ids: &LimitIds,
    key: &[u8],
    rule: Fingerprint,
    slot: Option<&str>,
) -> SharedKey {
    let (limit, parts) = match KeyReader::new(key) {
        Some((LimitId::OVERRIDE, parts)) => (Fingerprint::OVERRIDE, parts.rest()),
        // Its limit is in force, so it has a fingerprint.
        Some((id, parts)) => (limit_ids.fingerprint(id).unwrap_or(Fingerprint::OVERRIDE), parts.rest()),
        None => (Fingerprint::OVERRIDE, key),
    };
    slot.and_then(|slot| slotted(prefix, limit_ids, key, (rule, limit, parts), slot))
        .unwrap_or_else(|| SharedKey::new(prefix, rule, limit, parts))
}

/// The same in the slot of an entry; `None`: the counter has no such entry.
fn slotted(
    prefix: &KeyPrefix,
    limit_ids: &LimitIds,
    key: &[u8],
    (rule, limit, parts): (Fingerprint, Fingerprint, &[u8]),
    slot: &str,
) -> Option<SharedKey> {
    let limits = limit_ids.table();
    let DecodedKey { limit: of, entries } = decode(&limits, key).ok()?;
    let (_, value) = entries.iter().find(|(key, _)| key.is(slot))?;
    let domain = match of {
        DecodedLimit::Rule(description) => description.rule.domain.as_bytes(),
        DecodedLimit::Override { ref domain, .. } => domain.as_bytes(),
    };
    let slot = SlotName { domain, key: slot.as_bytes(), value: value.as_bytes() };
    Some(SharedKey::in_slot(prefix, slot, rule, limit, parts))
}

/// Keeps what the store says of a counter.
fn note(store: &Memory, now: Timestamp, charge: &Charge<'_>, known: &crate::engine_link::SharedOutcome) -> Charged {
    Charged { outcome: known.outcome, series_id: store.note(now, charge.key, known.state.clone()) }
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
