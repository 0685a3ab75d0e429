//! Makes counters fresh, and bans them.

use std::collections::HashSet;

use super::Limiter;
use super::keys::{self, DecodedKey, DecodedLimit, decode};
use super::plan::Plan;
use crate::rules::Rule;
use crate::store::{CounterKeys, KeyLocation, LimitId, LimitKind};
use crate::units::Timestamp;

impl Limiter {
    /// Makes the counters of every rule with this path fresh, or only those that are banned, and of those only the ones with
    /// these entries; with those that were changed on the store of shared counters, by key. Returns how many were changed here or there.
    ///
    /// Cost: a pass over all counters, unless the entries name one counter.
    pub fn reset_counters(
        &self,
        now: Timestamp,
        path: &str,
        entries: &[(String, String)],
        only_banned: bool,
        mut there: HashSet<Box<[u8]>>,
    ) -> u64 {
        let mut count = 0;
        self.visit_counters(now, path, entries, |kind, key| {
            let is_reset =
                if only_banned { self.store.unban(now, kind, key) } else { self.store.reset(now, kind, key) };
            count += u64::from(is_reset | there.remove(key));
        });
        count + there.len() as u64
    }

    /// The keys of these counters, as far as replicas may share them.
    ///
    /// Cost: as for [`reset_counters`](Self::reset_counters), and a copy of each key.
    pub fn shared_keys(&self, now: Timestamp, path: &str, entries: &[(String, String)]) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        if self.sharing.is_some() {
            self.visit_counters(now, path, entries, |_, key| keys.push(key.into()));
        }
        keys
    }

    /// Visits the counters of every rule with this path that have these entries.
    fn visit_counters(
        &self,
        now: Timestamp,
        path: &str,
        entries: &[(String, String)],
        mut visit: impl FnMut(LimitKind, &[u8]),
    ) {
        let _changing = self.changing.lock();
        let Some(view) = self.view() else { return };
        let Some(plan) = view.plan() else { return };
        let rules: Vec<&Rule> = plan.rules().rules_named(path).collect();
        let named = rules.iter().map(|rule| counters_of(plan, rule, entries).ok()).collect::<Option<Vec<_>>>();
        if let Some(counters) = named {
            return counters.iter().flatten().for_each(|Named { kind, keys, key }| visit(*kind, keys.key(*key)));
        }
        for counters in self.store.export().with_leased(self.engine_time(now)) {
            let limits = self.limits();
            for counter in counters {
                let Ok(key) = decode(&limits, counter.key()) else { continue };
                let DecodedLimit::Rule(limit) = key.limit else { continue };
                let is_ours = LimitId::of_key(counter.key())
                    .and_then(|limit_id| plan.limit_place(limit_id))
                    .is_some_and(|(rule, _)| rule.path == path);
                if is_ours && has_entries(&key, entries) {
                    visit(limit.kind, counter.key());
                }
            }
        }
    }

    /// Bans the counter that the entries name, of every rule with this path, until then.
    ///
    /// # Errors
    /// The entries do not name one counter, or there is no capacity for it; in words.
    pub fn ban_counter(&self, path: &str, entries: &[(String, String)], until: Timestamp) -> Result<(), String> {
        let _changing = self.changing.lock();
        let view = self.view().ok_or("no configuration is in force")?;
        let plan = view.plan().ok_or("no configuration is in force")?;
        let rules = plan.rules().rules_named(path);
        let counters = rules.map(|rule| counters_of(plan, rule, entries)).collect::<Result<Vec<_>, _>>()?;
        let counters: Vec<Named> = counters.into_iter().flatten().collect();
        if counters.is_empty() {
            return Err(format!("rule '{path}' has no limit, and so no counter that can be banned"));
        }
        // Only a counter that does not exist yet may find no memory, and such a one is fresh again when its ban is lifted.
        let exists = |Named { kind, keys, key }: &Named| self.store.state(*kind, keys.key(*key)).is_some();
        let (existing, new): (Vec<_>, Vec<_>) = counters.iter().partition(|named| exists(named));
        for (nth, Named { kind, keys, key }) in new.iter().chain(&existing).enumerate() {
            if !self.store.ban(*kind, keys.key(*key), until) {
                for Named { kind, keys, key } in new.iter().take(nth) {
                    self.store.unban(Timestamp::EPOCH, *kind, keys.key(*key));
                }
                return Err("the memory budget of the counters is used up: the counter cannot be created".to_owned());
            }
        }
        Ok(())
    }
}

/// A counter that entries name.
struct Named {
    kind: LimitKind,
    keys: CounterKeys,
    key: KeyLocation,
}

/// The counters of a rule that these entries name, one for each limit.
fn counters_of(plan: &Plan, rule: &Rule, entries: &[(String, String)]) -> Result<Vec<Named>, String> {
    let entries = rule.entries_of_counter(entries)?;
    let Some(domain) = plan.domain(&rule.domain) else { return Ok(Vec::new()) };
    let Some(in_force) = plan.in_force(domain, rule, &entries) else { return Ok(Vec::new()) };
    let limits = in_force.rule.limits.iter().zip(&in_force.attached.limit_ids);
    let named = limits.map(|(limit, limit_id)| {
        let mut keys = CounterKeys::default();
        let key = keys::add_rule(&mut keys, *limit_id, rule, &entries);
        Named { kind: LimitKind::from(&limit.limit), keys, key }
    });
    Ok(named.collect())
}

/// Whether a counter has these entries.
pub(super) fn has_entries(key: &DecodedKey<'_>, wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|(name, value)| key.entries.iter().any(|(key, own)| key.is(name) && own.is(value)))
}
