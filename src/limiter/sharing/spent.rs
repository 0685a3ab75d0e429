//! What was spent while the store was down, so that it can be charged when the store is back.

use std::collections::HashMap;

use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};

use super::exact::{name, peek};
use crate::engine::{CountDenied, Limit, Op};
use crate::engine_link::{How, KeyedCharge, SharedCheck};
use crate::limiter::in_force::InForce;
use crate::limiter::keys::{DecodedLimit, decode};
use crate::limiter::{Limiter, View};
use crate::store::{Charge, Fingerprint, LimitId, LimitTable};
use crate::units::Timestamp;

/// What was spent of one counter, while it is charged. It stays spent of this replica's share until the store has it.
#[derive(Debug)]
pub struct Spent {
    key: Box<[u8]>,
    /// This replica's share.
    share: Limit,
    hits: u64,
}

/// Hits that were sent to the store, which may have them or not: they are not sent again, and stay spent of this replica's share.
#[derive(Debug, Default)]
pub(super) struct SentHits(Mutex<HashMap<Box<[u8]>, u64>>);

impl SentHits {
    /// Those of a counter of which so many are spent in all. With fewer than that, they were of a window that has ended.
    fn of(&self, key: &[u8], all: u64) -> u64 {
        let mut sent = self.0.lock();
        let known = sent.get(key).copied().unwrap_or(0);
        if known <= all {
            return known;
        }
        sent.remove(key);
        0
    }

    /// Adds some; false: there are too many counters.
    fn add(&self, key: Box<[u8]>, hits: u64) -> bool {
        let mut sent = self.0.lock();
        if sent.len() >= MAX_SENT && !sent.contains_key(&key) {
            return false;
        }
        let known = sent.entry(key).or_default();
        *known = known.saturating_add(hits);
        true
    }

    fn take(&self, key: &[u8]) -> u64 {
        self.0.lock().remove(key).unwrap_or(0)
    }
}

impl Limiter {
    /// What was spent while the store was down, as charges that count although they may be denied. What has ended meanwhile is left
    /// out, and so are counters of limits that are no longer in force. What becomes of each is reported to
    /// [`is_charged`](Self::is_charged) or [`may_be_charged`](Self::may_be_charged); of what is not charged nothing is reported.
    ///
    /// Cost: a pass over what was spent, with one shard locked at a time.
    pub fn spent(&self, engine_now: Timestamp) -> Vec<(SharedCheck, Spent)> {
        let (Some(sharing), Some(view)) = (&self.sharing, self.view()) else { return Vec::new() };
        let mut spent = Vec::new();
        for counters in sharing.outage.export() {
            let limits = self.limits();
            for counter in counters {
                if counter.state.is_fresh(engine_now) {
                    sharing.sent.take(counter.key());
                    continue;
                }
                let Some((rule, slot, limit)) = in_force(&view, &limits, counter.key()) else { continue };
                let charge = Charge { limit: &limit, key: counter.key(), op: Op::Charge(0) };
                let share = sharing.share(&self.store, engine_now, &charge);
                let all = peek(&share, Some(counter.state.clone()), engine_now, Op::Charge(0)).before;
                let hits = all - sharing.sent.of(counter.key(), all);
                if hits > 0 {
                    let key = name(&sharing.prefix, &self.limit_ids, counter.key(), rule, slot);
                    let limit = Limit { count_denied: CountDenied::Always, ..limit };
                    let charges = smallvec![KeyedCharge { key, limit, op: Op::Charge(hits) }];
                    let check = SharedCheck { groups: SmallVec::new(), charges, how: How::Script };
                    spent.push((check, Spent { key: counter.key().into(), share, hits }));
                }
            }
        }
        spent
    }

    /// The store has it: it is no longer spent of this replica's share.
    pub fn is_charged(&self, spent: &Spent, engine_now: Timestamp) {
        let Some(sharing) = &self.sharing else { return };
        let hits = spent.hits.saturating_add(sharing.sent.take(&spent.key));
        sharing.outage.charge(engine_now, &Charge { limit: &spent.share, key: &spent.key, op: Op::Refund(hits) });
    }

    /// The store may have it, which nobody knows: it is not charged again.
    pub fn may_be_charged(&self, spent: &Spent, engine_now: Timestamp) {
        let Some(sharing) = &self.sharing else { return };
        if !sharing.sent.add(spent.key.clone(), spent.hits) {
            self.is_charged(spent, engine_now);
        }
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

/// Counters with hits of which nobody knows whether the store has them; of others the share is granted once more.
const MAX_SENT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_charged_is_not_sent_again_before_its_window_ends() {
        let sent = SentHits::default();
        assert!(sent.add((*b"a").into(), 3) && sent.add((*b"a").into(), 2));
        assert_eq!((sent.of(b"a", 9), sent.of(b"b", 9)), (5, 0));
        assert_eq!((sent.of(b"a", 4), sent.of(b"a", 9)), (0, 0), "another window has begun");
    }
}
