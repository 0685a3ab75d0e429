//! What checks are answered while the store is down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::Sharing;
use super::exact::peek;
use super::member::Member;
use crate::engine::{Algorithm, CountDenied, Limit, Op, Outcome, Queue, Reason, Verdict, WhenDown};
use crate::store::{Charge, Charged, CounterState, Group, LimitKind, Memory};
use crate::units::{Nanos, Timestamp};

/// Checks that were answered without the store, by domain and answer.
#[derive(Debug, Default)]
pub struct DownCounts(RwLock<BTreeMap<String, [AtomicU64; 3]>>);

impl DownCounts {
    /// Counts a check of a configured domain, of which there are few.
    fn count(&self, domain: &str, answer: WhenDown) {
        let add = |counts: &[AtomicU64; 3]| {
            if let Some(count) = counts.get(answer as usize) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        if let Some(counts) = self.0.read().get(domain) {
            return add(counts);
        }
        let mut domains = self.0.write();
        let name = if domains.len() < MAX_DOMAINS { domain } else { OTHER };
        add(domains.entry(name.to_owned()).or_default());
    }

    /// The counts: domain, answer, and how many checks.
    pub fn counts(&self) -> Vec<(String, &'static str, u64)> {
        let domains = self.0.read();
        let of_domain = |(domain, counts): (&String, &[AtomicU64; 3])| {
            let read = ANSWERS.iter().zip(counts);
            let read = read.map(|(answer, count)| (domain.clone(), answer.name(), count.load(Ordering::Relaxed)));
            read.filter(|(.., count)| *count > 0).collect::<Vec<_>>()
        };
        domains.iter().flat_map(of_domain).collect()
    }
}

impl Sharing {
    /// Counts a check with a counter that was to be asked for, and was decided without the store.
    pub(in crate::limiter) fn count_down(&self, domain: &str, answer: WhenDown) {
        self.down.count(domain, answer);
    }

    /// The outcomes of exact members of a step without the store. Where all count on, they are charged all or nothing.
    pub(super) fn step_without_store(
        &self,
        known: &Memory,
        now: Timestamp,
        groups: &[Group],
        members: &[Member<'_>],
    ) -> SmallVec<[Charged; 1]> {
        if members.iter().any(|member| member.when_down != WhenDown::Local) {
            return members.iter().map(|member| self.without_store(known, now, member)).collect();
        }
        let bans: SmallVec<[_; 4]> = members.iter().map(|member| known_ban(known, now, &member.charge)).collect();
        if bans.iter().any(Option::is_some) {
            // What is banned is denied, and charges nothing else.
            let outcome = |(member, ban): (&Member<'_>, &Option<Outcome>)| Charged {
                outcome: ban.unwrap_or_else(|| peek(member.charge.limit, None, now, Op::Charge(0))),
                series_id: None,
            };
            return members.iter().zip(&bans).map(outcome).collect();
        }
        let limits: SmallVec<[Limit; 4]> =
            members.iter().map(|member| self.share(known, now, &member.charge)).collect();
        let parts: SmallVec<[Charge<'_>; 4]> =
            members.iter().zip(&limits).map(|(member, limit)| Charge { limit, ..member.charge }).collect();
        if let ([], [only]) = (groups, &parts[..]) {
            return SmallVec::from_buf([self.outage.charge(now, only)]);
        }
        let mut outcomes = Vec::with_capacity(parts.len());
        self.outage.charge_groups(now, groups, &parts, &mut outcomes);
        outcomes.into()
    }

    /// The outcome of one exact member without the store.
    pub(super) fn without_store(&self, known: &Memory, now: Timestamp, member: &Member<'_>) -> Charged {
        let charge = &member.charge;
        let outcome = match (member.when_down, charge.op) {
            (WhenDown::Local, _) => {
                if let Some(outcome) = known_ban(known, now, charge) {
                    return Charged { outcome, series_id: None };
                }
                let limit = self.share(known, now, charge);
                return self.outage.charge(now, &Charge { limit: &limit, ..*charge });
            }
            (WhenDown::Deny, Op::Charge(hits @ 1..)) => Outcome {
                verdict: Verdict::Denied(Reason::StoreDown),
                before: 0,
                after: hits,
                remaining: 0,
                reset: RETRY,
            },
            (_, Op::Charge(hits) | Op::Refund(hits)) => {
                let remaining = charge.limit.capacity().saturating_sub(hits);
                Outcome { verdict: Verdict::ADMITTED, before: 0, after: hits, remaining, reset: Nanos::ZERO }
            }
        };
        Charged { outcome, series_id: None }
    }

    /// This replica's share of a limit: of what is left of it as far as is known, and at least one hit. A share begins no ban, because the
    /// limit itself may not be used up. Nor does it count what it denies, unless the rule says that denied hits count: that is charged when
    /// the store is back.
    pub(super) fn share(&self, known: &Memory, now: Timestamp, charge: &Charge<'_>) -> Limit {
        let replicas = self.replicas.load(Ordering::Relaxed).max(1);
        let part = |whole: u32| if whole == 0 { 0 } else { (whole / replicas).max(1) };
        let count_denied = match charge.limit.count_denied {
            CountDenied::Alone => CountDenied::Never,
            said => said,
        };
        let limit = Limit { ban: None, count_denied, ..*charge.limit };
        if let Algorithm::TokenBucket { burst, queue } = limit.algorithm {
            let queue = Queue { size: queue.size / replicas, ..queue };
            let algorithm = Algorithm::TokenBucket { burst: part(burst), queue };
            return Limit { max: part(limit.max), algorithm, ..limit };
        }
        let state = known.state(LimitKind::from(charge.limit), charge.key);
        let spent = state.map_or(0, |state| peek(&limit, Some(state), now, Op::Charge(0)).before);
        let left = limit.max.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX));
        let max = if limit.max == 0 { 0 } else { (left / replicas).max(1) };
        Limit { max, ..limit }
    }
}

/// What a ban says that is known here.
fn known_ban(known: &Memory, now: Timestamp, charge: &Charge<'_>) -> Option<Outcome> {
    let state = known.state(LimitKind::from(charge.limit), charge.key)?;
    let is_banned = match &state {
        CounterState::Cell(cell) => cell.is_banned(now),
        CounterState::Log(log) => log.is_banned(now),
    };
    // The ban may be of a limit that no longer has one.
    let outcome = is_banned.then(|| peek(charge.limit, Some(state), now, charge.op))?;
    (outcome.verdict == Verdict::Denied(Reason::Banned)).then_some(outcome)
}

/// The answers, in the order of their counts.
const ANSWERS: [WhenDown; 3] = [WhenDown::Local, WhenDown::Deny, WhenDown::Allow];
/// After what time a check that the store's absence denied may try again.
const RETRY: Nanos = Nanos::SECOND;
/// Domains with a count of their own, over all reloads.
const MAX_DOMAINS: usize = 1_000;
/// The others.
const OTHER: &str = "other";
