//! Checks of a cluster whose counters are in several slots, which no script can charge in one step.
//!
//! Each group is charged on its own, and given back if the check is denied. So a denied check takes from other counters for as long as a
//! round to the store and back, and no limit ever admits more than it allows. What is given back is sent once: if it is lost, the hits
//! stay charged.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use tokio::sync::oneshot;

use super::asker::Asker;
use super::queue::{NotAsked, StoreAnswer};
use crate::engine::Op;
use crate::engine_link::{CheckOutcome, How, KeyedCharge, LinkError, SharedCheck};
use crate::store::{Group, Role};

/// A group of a check, as a check of its own.
struct Part {
    role: Role,
    check: SharedCheck,
    answer: Option<StoreAnswer>,
}

impl Asker {
    /// Asks for a check whose counters are in several slots.
    pub(super) fn ask_apart(self: &Arc<Self>, check: &SharedCheck) -> Result<StoreAnswer, NotAsked> {
        let mut parts = parts(check);
        let mut is_one_asked = false;
        for part in parts.iter_mut().filter(|part| !part.check.charges.is_empty()) {
            part.answer = self.ask(Box::new(part.check.clone())).ok();
            is_one_asked |= part.answer.is_some();
        }
        if !is_one_asked {
            return Err(NotAsked::Down);
        }
        let (answer, receiver) = oneshot::channel();
        let asker = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = asker.conclude(parts).await;
            // An error means that nobody waits any longer.
            let _gone = answer.send(outcome);
        });
        Ok(StoreAnswer::of(receiver))
    }

    /// Waits for all parts, and gives back what was charged if they do not admit the check together.
    async fn conclude(self: &Arc<Self>, parts: Vec<Part>) -> Result<CheckOutcome, LinkError> {
        let mut answered = Vec::with_capacity(parts.len());
        for Part { role, check, answer } in parts {
            let outcome = match answer {
                Some(mut answer) => answer.wait().await,
                None if check.charges.is_empty() => Ok(CheckOutcome { admitted: true, counters: SmallVec::new() }),
                None => Err(LinkError::Down),
            };
            answered.push((role, check, outcome));
        }
        let failed = answered.iter().find_map(|(.., outcome)| outcome.as_ref().err().cloned());
        let votes = |wanted: Role| {
            answered.iter().filter(move |(role, ..)| *role == wanted).map(|(.., outcome)| admits(outcome))
        };
        let mut quotas = votes(Role::Quota).peekable();
        let has_quotas = quotas.peek().is_some();
        let admitted = votes(Role::Required).all(|admits| admits) && (!has_quotas || quotas.any(|admits| admits));
        if !admitted || failed.is_some() {
            let charged = answered.iter().filter(|(.., outcome)| admits(outcome));
            let backs = charged.flat_map(|(_, check, _)| &check.charges).filter_map(given_back);
            // What is not asked stays charged.
            let answers: Vec<_> = backs.filter_map(|back| self.ask(Box::new(back)).ok()).collect();
            self.send();
            // What nobody waits for is not sent.
            tokio::spawn(async move {
                for mut answer in answers {
                    let _given_back = answer.wait().await;
                }
            });
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let counters =
            answered.into_iter().flat_map(|(.., outcome)| outcome.map_or(SmallVec::new(), |known| known.counters));
        Ok(CheckOutcome { admitted, counters: counters.collect() })
    }
}

fn admits(outcome: &Result<CheckOutcome, LinkError>) -> bool {
    outcome.as_ref().is_ok_and(|outcome| outcome.admitted)
}

/// The groups of a check, each on its own. The charges of a group are those of one rule, which share a slot.
fn parts(check: &SharedCheck) -> Vec<Part> {
    let mut rest = &check.charges[..];
    let part = |group: &Group| {
        let (of_group, others) = rest.split_at_checked(group.charges).unwrap_or((rest, &[]));
        rest = others;
        let groups: SmallVec<[Group; 1]> = smallvec![Group::required(of_group.len())];
        let check = SharedCheck { groups, charges: of_group.iter().cloned().collect(), how: How::Script };
        Part { role: group.role, check, answer: None }
    };
    check.groups.iter().map(part).collect()
}

/// What gives a charge back; none for hits that count although their check is denied, and for what charged nothing.
fn given_back(charge: &KeyedCharge) -> Option<SharedCheck> {
    let Op::Charge(hits @ 1..) = charge.op else { return None };
    let back = KeyedCharge { op: Op::Refund(hits), ..charge.clone() };
    let charges = smallvec![back];
    (!charge.limit.keeps_denied()).then(|| SharedCheck { groups: SmallVec::new(), charges, how: How::Script })
}
