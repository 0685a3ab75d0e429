//! What was spent while the store was down, so that it can be charged when the store is back.

use smallvec::{SmallVec, smallvec};

use super::exact::{name, peek};
use crate::engine::{CountDenied, Limit, Op};
use crate::engine_link::{How, KeyedCharge, SharedCheck};
use crate::limiter::in_force::InForce;
use crate::limiter::keys::{DecodedLimit, decode};
use crate::limiter::{Limiter, View};
use crate::store::{Charge, Fingerprint, LimitId, LimitKind, LimitTable};
use crate::units::Timestamp;

impl Limiter {
    /// Takes what was spent while the store was down, as charges that count although they may be denied. What has ended meanwhile is
    /// left out, and so are counters of limits that are no longer in force.
    ///
    /// Cost: a pass over what was spent, with one shard locked at a time.
    pub fn take_spent(&self, engine_now: Timestamp) -> Vec<SharedCheck> {
        let (Some(sharing), Some(view)) = (&self.sharing, self.view()) else { return Vec::new() };
        let mut spent = Vec::new();
        for counters in sharing.outage.export() {
            let limits = self.limits();
            for counter in counters {
                if counter.state.is_fresh(engine_now) {
                    continue;
                }
                let Some((rule, slot, limit)) = in_force(&view, &limits, counter.key()) else { continue };
                let charge = Charge { limit: &limit, key: counter.key(), op: Op::Charge(0) };
                let share = sharing.share(&self.store, engine_now, &charge);
                let hits = peek(&share, Some(counter.state.clone()), engine_now, Op::Charge(0)).before;
                sharing.outage.reset(engine_now, LimitKind::from(&limit), counter.key());
                if hits > 0 {
                    let key = name(&sharing.prefix, &self.limit_ids, counter.key(), rule, slot);
                    let limit = Limit { count_denied: CountDenied::Always, ..limit };
                    let charges = smallvec![KeyedCharge { key, limit, op: Op::Charge(hits) }];
                    spent.push(SharedCheck { groups: SmallVec::new(), charges, how: How::Script });
                }
            }
        }
        spent
    }
}

/// The fingerprint of the rule of a counter, what decides about its slot, and the limit that is in force for it.
fn in_force<'v>(view: &'v View<'_>, limits: &LimitTable, key: &[u8]) -> Option<(Fingerprint, Option<&'v str>, Limit)> {
    let limit_id = LimitId::of_key(key)?;
    let (decoded, plan) = (decode(limits, key).ok()?, view.plan()?);
    if let DecodedLimit::Override { window, domain } = decoded.limit {
        let domain = std::str::from_utf8(domain.as_bytes()).ok().and_then(|name| plan.domain(name));
        let slot = domain.and_then(|domain| domain.sharing.as_ref()?.slot.as_deref());
        return Some((Fingerprint::OVERRIDE, slot, window.limit(u32::MAX)));
    }
    let counter = plan.limit_of_counter(limit_id, &decoded)?;
    let InForce { rule, attached, .. } = counter.in_force;
    Some((attached.fingerprint, rule.slot(counter.limit), counter.limit.limit))
}
