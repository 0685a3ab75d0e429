//! Counters as the store has them, for operators.

use std::sync::atomic::Ordering;

use smallvec::{SmallVec, smallvec};

use super::exact::name;
use crate::engine::Op;
use crate::engine_link::{CheckOutcome, How, KeyedCharge, SharedCheck};
use crate::limiter::keys::decode;
use crate::limiter::{CounterView, Limiter};
use crate::rules;
use crate::store::LimitId;
use crate::units::Timestamp;

impl Limiter {
    /// A look at what the store has of a counter, which changes nothing there. `None`: replicas do not share it, or only its requests know
    /// its limit.
    pub fn shared_look(&self, counter: &CounterView) -> Option<SharedCheck> {
        self.of_shared(&counter.key, How::Script)
    }

    /// What makes the counter with this key fresh on the store, or only if a ban runs. `None`: as for [`shared_look`](Self::shared_look).
    pub fn shared_reset(&self, key: &[u8], only_banned: bool) -> Option<SharedCheck> {
        self.of_shared(key, if only_banned { How::Unban } else { How::Reset })
    }

    fn of_shared(&self, key: &[u8], how: How) -> Option<SharedCheck> {
        let (sharing, view, limits) = (self.sharing.as_ref()?, self.view()?, self.limits());
        let decoded = decode(&limits, key).ok()?;
        let found = view.plan()?.limit_of_counter(LimitId::of_key(key)?, &decoded)?;
        let shared = found.in_force.rule.shared(found.limit, sharing.replicas.load(Ordering::Relaxed));
        if matches!(shared, rules::Shared::Local(_)) {
            return None;
        }
        let (fingerprint, slot) = (found.in_force.attached.fingerprint, found.in_force.rule.slot(found.limit));
        let key = name(&sharing.prefix, &self.limit_ids, key, fingerprint, slot);
        let charges = smallvec![KeyedCharge { key, limit: found.limit.limit, op: Op::Charge(0) }];
        Some(SharedCheck { groups: SmallVec::new(), charges, how })
    }

    /// The counter as the store has it by this answer; `None`: it is fresh there, or has a value that is not ours.
    pub fn as_shared(&self, now: Timestamp, counter: &CounterView, answer: &CheckOutcome) -> Option<CounterView> {
        let known = answer.counters.first()?.as_ref()?;
        self.view_counter(self.engine_time(now), &counter.key, &known.state)
    }
}
