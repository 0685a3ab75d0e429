//! What leases do when other limits are in force.

use std::sync::atomic::Ordering;

use super::Sharing;
use crate::engine::Limit;
use crate::limiter::keys::decode;
use crate::limiter::{Limiter, View};
use crate::rules;
use crate::store::lease::Now;
use crate::store::{LimitId, LimitTable};
use crate::units::Timestamp;

impl Limiter {
    /// Has leases follow the limits that are in force: what was granted by other ones goes back.
    ///
    /// Cost: a pass over the leases that hold something.
    pub(in crate::limiter) fn follow_limits(&self, now: Timestamp) {
        let (Some(sharing), Some(view)) = (&self.sharing, self.view()) else { return };
        let limits = self.limits();
        let now = Now { local: now, engine: sharing.engine_time(now) };
        sharing.leases.follow(now, |key| sharing.leased_limit(&view, &limits, key));
    }
}

impl Sharing {
    /// The limit of a counter, if it is in force and leased.
    fn leased_limit(&self, view: &View<'_>, limits: &LimitTable, key: &[u8]) -> Option<Limit> {
        let decoded = decode(limits, key).ok()?;
        let counter = view.plan()?.limit_of_counter(LimitId::of_key(key)?, &decoded)?;
        let how = counter.in_force.rule.shared(counter.limit, self.replicas.load(Ordering::Relaxed));
        matches!(how, rules::Shared::Leased(_)).then_some(counter.limit.limit)
    }
}
