//! Counters as the store has them, for people.

use std::sync::atomic::Ordering;

use smallvec::{SmallVec, smallvec};

use super::exact::name;
use crate::engine::Op;
use crate::engine_link::{CheckOutcome, KeyedCharge, SharedCheck};
use crate::limiter::keys::decode;
use crate::limiter::{CounterView, Limiter};
use crate::rules;
use crate::store::LimitId;
use crate::units::Timestamp;

impl Limiter {
    /// A look at what the store has of a counter, which changes nothing there. `None`: replicas do not share it, or only its requests know
    /// its limit.
    pub fn shared_look(&self, counter: &CounterView) -> Option<SharedCheck> {
        let (sharing, view, limits) = (self.sharing.as_ref()?, self.view()?, self.limits());
        let decoded = decode(&limits, &counter.key).ok()?;
        let found = view.plan()?.limit_of_counter(LimitId::of_key(&counter.key)?, &decoded)?;
        let how = found.in_force.rule.shared(found.limit, sharing.replicas.load(Ordering::Relaxed));
        if matches!(how, rules::Shared::Local(_)) {
            return None;
        }
        let (fingerprint, slot) = (found.in_force.attached.fingerprint, found.in_force.rule.slot(found.limit));
        let key = name(&sharing.prefix, &self.limit_ids, &counter.key, fingerprint, slot);
        let charges = smallvec![KeyedCharge { key, limit: found.limit.limit, op: Op::Charge(0) }];
        Some(SharedCheck { groups: SmallVec::new(), charges, is_plain: false })
    }

    /// The counter as the store has it by this answer; `None`: it is fresh there, or has a value that is not ours.
    pub fn as_shared(&self, now: Timestamp, counter: &CounterView, answer: &CheckOutcome) -> Option<CounterView> {
        let known = answer.counters.first()?.as_ref()?;
        self.view_counter(self.engine_time(now), &counter.key, &known.state)
    }
}
