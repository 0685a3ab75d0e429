//! What was spent while the store was down, so that it can be charged when the store is back.

use smallvec::{SmallVec, smallvec};

use super::exact::peek;
use crate::engine::{Algorithm, CountDenied, Limit, Op, Starts};
use crate::engine_link::{KeyedCharge, SharedCheck, SharedKey};
use crate::limiter::keys::{DecodedLimit, decode};
use crate::limiter::{Limiter, View};
use crate::store::{Charge, Fingerprint, LimitId, LimitKind};
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
                let Some((rule, fingerprint, limit)) = in_force(&view, &limits, counter.key()) else { continue };
                let charge = Charge { limit: &limit, key: counter.key(), op: Op::Charge(0) };
                let share = sharing.share(&self.store, engine_now, &charge);
                let hits = peek(&share, Some(counter.state.clone()), engine_now, Op::Charge(0)).before;
                sharing.outage.reset(engine_now, LimitKind::from(&limit), counter.key());
                if hits > 0 {
                    let parts = counter.key().get(ID_BYTES..).unwrap_or_default();
                    let key = SharedKey::new(&sharing.prefix, rule, fingerprint, parts);
                    let limit = Limit { count_denied: CountDenied::Always, ..limit };
                    let charges = smallvec![KeyedCharge { key, limit, op: Op::Charge(hits) }];
                    spent.push(SharedCheck { groups: SmallVec::new(), charges, is_plain: false });
                }
            }
        }
        spent
    }
}

/// The fingerprints of the rule and of the limit of a counter, and the limit that is in force for it.
fn in_force(
    view: &View<'_>,
    limits: &crate::store::LimitTable,
    key: &[u8],
) -> Option<(Fingerprint, Fingerprint, Limit)> {
    let limit_id = LimitId::of_key(key)?;
    let decoded = decode(limits, key).ok()?;
    if let DecodedLimit::Override { window, .. } = decoded.limit {
        let algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
        let limit = Limit { max: u32::MAX, window, algorithm, ban: None, count_denied: CountDenied::Alone };
        return Some((Fingerprint::OVERRIDE, Fingerprint::OVERRIDE, limit));
    }
    let counter = view.plan()?.limit_of_counter(limit_id, &decoded)?;
    Some((counter.in_force.attached.fingerprint, limits.fingerprint(limit_id)?, counter.limit.limit))
}

/// The number of the limit, with which a key begins.
const ID_BYTES: usize = 4;
