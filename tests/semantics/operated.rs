//! A limiter with settings, on a virtual clock.

use std::sync::Arc;

use smallvec::smallvec;

use tidegate::limiter::{Check, Code, Descriptor, Limiter, Override, Settings, WorkerSlot};
use tidegate::rules::{
    Assignment, Entry, LoadOptions, Overlay, RuleSet, Scope, ScopeTarget, SettingName, SourceFile, load,
};
use tidegate::units::{Nanos, Timestamp};

/// A limiter with settings, at an instant of its own.
pub(super) struct Operated {
    pub(super) limiter: Limiter,
    rules: Arc<RuleSet>,
    pub(super) now: Timestamp,
    set: Vec<Assignment>,
}

impl Operated {
    pub(super) fn new(rules: &str) -> Self {
        Self::in_mode(rules, Settings::default())
    }

    /// With settings of the process.
    pub(super) fn in_mode(rules: &str, settings: Settings) -> Self {
        let rules = loaded(rules);
        let limiter = Limiter::new(settings);
        let now = Timestamp::from_ns(1_000_000_000_000);
        limiter.put_in_force(now, Arc::clone(&rules), &Overlay::default());
        Self { limiter, rules, now, set: Vec::new() }
    }

    /// Reloads with other rules.
    pub(super) fn reload(&mut self, rules: &str) {
        self.rules = loaded(rules);
        self.apply();
    }

    /// With settings such as `rule api.user, user=ann: requests_per_unit=3`, one after the other.
    pub(super) fn with(rules: &str, settings: &[&str]) -> Self {
        Self::new(rules).and_set(settings)
    }

    pub(super) fn and_set(mut self, settings: &[&str]) -> Self {
        for setting in settings {
            self.set(setting);
        }
        self
    }

    /// Sets a value, or replaces it.
    pub(super) fn set(&mut self, setting: &str) {
        let (scope, name, value) = read(setting);
        self.set.retain(|known| (&known.scope, known.name) != (&scope, name));
        let order = self.set.iter().map(|known| known.order + 1).max().unwrap_or(0);
        self.set.push(Assignment { scope, name, value, order });
        self.apply();
    }

    pub(super) fn unset(&mut self, setting: &str) {
        let (scope, name, _) = read(&format!("{setting}=x"));
        self.set.retain(|known| (&known.scope, known.name) != (&scope, name));
        self.apply();
    }

    fn apply(&self) {
        self.limiter.put_in_force(self.now, Arc::clone(&self.rules), &self.overlay());
    }

    pub(super) fn overlay(&self) -> Overlay {
        let mut targets: Vec<&ScopeTarget> = self.set.iter().map(|one| &one.scope.target).collect();
        targets.sort_unstable();
        targets.dedup();
        let targets = targets.into_iter().map(|target| {
            let of_target: Vec<&Assignment> = self.set.iter().filter(|one| one.scope.target == *target).collect();
            (target, of_target)
        });
        Overlay::new(&self.rules, targets)
    }

    pub(super) fn check(&self, descriptor: &str, hits: u64) -> (Code, String) {
        self.check_with(descriptor, hits, None)
    }

    /// The code, and the limit: `10`, `10 shadow`, `off`, `unlimited` or `none`.
    pub(super) fn check_with(&self, descriptor: &str, hits: u64, limit: Option<Override>) -> (Code, String) {
        let pairs = pairs(descriptor);
        let entries = Entry::borrowed(&pairs).into_iter().collect();
        let descriptor = Descriptor { entries, hits: Some(hits), limit, refund: false };
        let check = Check { domain: "api".into(), descriptors: smallvec![descriptor], ..Check::default() };
        let view = self.limiter.view().unwrap();
        let decision = view.check(WorkerSlot::default(), self.now, &check);
        let status = &decision.statuses[0];
        let shown = match (status.limit, status.rule) {
            (Some(limit), _) if status.denied.is_some() && status.code == Code::Ok => {
                format!("{} shadow", limit.requests_per_unit)
            }
            (Some(limit), _) => limit.requests_per_unit.to_string(),
            (None, Some(_)) if status.unlimited => "unlimited".to_owned(),
            (None, Some(_)) => "off".to_owned(),
            (None, None) => "none".to_owned(),
        };
        (decision.code, shown)
    }

    pub(super) fn remaining(&self, descriptor: &str) -> u64 {
        let pairs = pairs(descriptor);
        let view = self.limiter.view().unwrap();
        let explained = view.explain(self.now, "api", &Entry::borrowed(&pairs), 1).unwrap();
        explained.limits[0].counter.remaining
    }

    pub(super) fn pass(&mut self, length: Nanos) {
        self.now = self.now.plus(length);
    }
}

/// `rule PATH, limit N, K=V: NAME=VALUE`, `domain NAME, K=V: ...` or `everything: ...`.
pub(super) fn read(setting: &str) -> (Scope, SettingName, String) {
    let (scope, assigned) = setting.split_once(": ").unwrap();
    let (name, value) = assigned.split_once('=').unwrap();
    let mut parts = scope.split(", ");
    let target = match parts.next().unwrap().split_once(' ') {
        None => ScopeTarget::Everything,
        Some(("domain", name)) => ScopeTarget::Domain(name.to_owned()),
        Some((_, path)) => ScopeTarget::Rule(path.to_owned()),
    };
    let (mut entries, mut limit) = (Vec::new(), 0);
    for part in parts {
        match part.strip_prefix("limit ") {
            Some(place) => limit = place.parse().unwrap(),
            None => entries.extend(pairs(part)),
        }
    }
    let name = SettingName::read(name, &target).unwrap();
    (Scope::new(target, entries, limit).unwrap(), name, value.to_owned())
}

pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split(',').map(|entry| entry.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap()).collect()
}

fn loaded(rules: &str) -> Arc<RuleSet> {
    let file = SourceFile { name: "rules.yaml".into(), text: rules.into() };
    Arc::new(load(&[file], LoadOptions::default()).unwrap())
}
