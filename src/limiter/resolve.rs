//! Finds the limits of each descriptor of a check.

use smallvec::SmallVec;

use super::check::{Check, Descriptor, Override};
use super::decision::CurrentLimit;
use super::in_force::InForce;
use super::keys;
use super::override_window::OverrideWindow;
use super::plan::Plan;
use crate::engine::{Algorithm, Limit, Queue, QueueMode};
use crate::rules::{Domain, Entry, Rule, RuleLimit, Switches};
use crate::store::{CounterKeys, KeyLocation};
use crate::units::{Nanos, Timestamp};

/// The limits of one descriptor.
#[derive(Debug)]
pub(super) enum Resolved<'v> {
    /// No rule matches.
    Nothing,
    /// A rule that is unlimited, or whose limits are all disabled.
    Free(InForce<'v>),
    /// A rule's limits.
    Rule(InForce<'v>, SmallVec<[Limited<'v>; 1]>),
    /// A request override, and what settings say about its shadow mode.
    Override(Limited<'v>, Option<bool>),
}

impl<'v> Resolved<'v> {
    /// The limits in force.
    pub(super) fn limits(&self) -> &[Limited<'v>] {
        match self {
            Self::Nothing | Self::Free(..) => &[],
            Self::Rule(_, limits) => limits,
            Self::Override(limited, _) => std::slice::from_ref(limited),
        }
    }

    /// The rule that the descriptor matched.
    pub(super) fn rule(&self) -> Option<&'v Rule> {
        self.in_force().map(|in_force| in_force.rule)
    }

    /// The rule, as it is in force for the descriptor.
    pub(super) fn in_force(&self) -> Option<InForce<'v>> {
        match self {
            Self::Nothing | Self::Override(..) => None,
            Self::Free(in_force) | Self::Rule(in_force, _) => Some(*in_force),
        }
    }

    /// What the narrowest setting says about shadow mode; `None`: there is none.
    pub(super) fn shadow_setting(&self) -> Option<bool> {
        match self {
            Self::Nothing => None,
            Self::Override(_, setting) => *setting,
            Self::Free(in_force) | Self::Rule(in_force, _) => in_force.shadow_setting,
        }
    }

    /// Whether what is over its limits is admitted, apart from the shadow mode of the process.
    pub(super) fn shadow_mode(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Override(_, setting) => *setting == Some(true),
            Self::Free(in_force) | Self::Rule(in_force, _) => in_force.shadow_mode(),
        }
    }
}

/// One limit, and the key of its counter.
#[derive(Debug)]
pub(super) struct Limited<'v> {
    source: Source<'v>,
    pub(super) key: KeyLocation,
}

/// Where a limit comes from. A request override is boxed: it is rare, and would make every limit larger.
#[derive(Debug)]
enum Source<'v> {
    Rule(&'v RuleLimit),
    /// A rule's limit with its queue limited to the caller's timeout; boxed too, because only queues need it.
    WithDeadline(&'v RuleLimit, Box<Limit>),
    Request(Box<(Limit, CurrentLimit<'static>)>),
}

impl<'v> Limited<'v> {
    pub(super) fn limit(&self) -> &Limit {
        match &self.source {
            Source::Rule(limit) => &limit.limit,
            Source::WithDeadline(_, limit) => limit,
            Source::Request(request) => &request.0,
        }
    }

    /// The limit as it is configured; `None`: it is a request override.
    pub(super) fn rule_limit(&self) -> Option<&'v RuleLimit> {
        match &self.source {
            Source::Rule(limit) | Source::WithDeadline(limit, _) => Some(limit),
            Source::Request(_) => None,
        }
    }

    /// The limit in the form of statuses, with the length of the window at `now`.
    pub(super) fn current(&self, now: Timestamp) -> CurrentLimit<'v> {
        let current = match &self.source {
            Source::Rule(limit) | Source::WithDeadline(limit, _) => (*limit).into(),
            Source::Request(request) => request.1,
        };
        match self.limit().calendar() {
            None => current,
            Some(calendar) => CurrentLimit { length: calendar.window_at(now).length(), ..current },
        }
    }

    /// The limit's name; empty when it has none.
    fn name(&self) -> &'v str {
        self.rule_limit().map_or("", |limit| &limit.name)
    }
}

/// Finds the limits of a check's descriptors, and makes the keys of their counters.
#[derive(Debug)]
pub(super) struct Resolver<'v> {
    plan: &'v Plan,
    domain: &'v Domain,
    timeout: Option<Nanos>,
    keys: CounterKeys,
}

impl<'v> Resolver<'v> {
    pub(super) fn new(plan: &'v Plan, domain: &'v Domain, check: &Check<'_>) -> Self {
        Self { plan, domain, timeout: check.timeout, keys: CounterKeys::default() }
    }

    /// The limits of one descriptor, independent of the others.
    pub(super) fn resolve(&mut self, descriptor: &Descriptor<'_>) -> Resolved<'v> {
        let Self { plan, domain, timeout, ref mut keys } = *self;
        let entries = &descriptor.entries;
        if let Some(limit) = descriptor.limit
            && let Switches { enabled: None | Some(true), shadow_mode } = plan.switches(domain, entries)
            && let Some(limited) = override_limit(domain, plan.rules().has_calendar_months(), limit, entries, keys)
        {
            return Resolved::Override(limited, shadow_mode);
        }
        let Some(matched) = domain.find(plan.rules().rules(), entries) else { return Resolved::Nothing };
        let Some(in_force) = plan.in_force(domain, matched.rule, entries) else { return Resolved::Nothing };
        let InForce { rule, attached, enabled, .. } = in_force;
        let mut limits = SmallVec::new();
        for (limit, limit_id) in rule.limits.iter().zip(&attached.limit_ids) {
            if enabled && limit.enabled {
                let key = keys::add_rule(keys, *limit_id, rule, entries);
                limits.push(Limited { source: Source::new(limit, timeout), key });
            }
        }
        if limits.is_empty() { Resolved::Free(in_force) } else { Resolved::Rule(in_force, limits) }
    }

    /// The keys of all counters, after all descriptors are `resolved`, from which replaced limits are dropped.
    pub(super) fn finish(self, resolved: &mut [Resolved<'v>]) -> CounterKeys {
        if resolved.iter().any(|resolved| !replaces(resolved).is_empty()) {
            drop_replaced(resolved);
        }
        self.keys
    }
}

impl<'v> Source<'v> {
    /// The limit of a rule, for a caller with this `timeout`.
    fn new(limit: &'v RuleLimit, timeout: Option<Nanos>) -> Self {
        match (limit.limit.algorithm, timeout) {
            (
                Algorithm::TokenBucket { burst, queue: Queue { size: size @ 1.., mode: QueueMode::Hold } },
                Some(timeout),
            ) => {
                let queue = Queue { size, mode: QueueMode::HoldAtMost(timeout) };
                let algorithm = Algorithm::TokenBucket { burst, queue };
                Self::WithDeadline(limit, Box::new(Limit { algorithm, ..limit.limit }))
            }
            _ => Self::Rule(limit),
        }
    }
}

/// A request override: an aligned fixed window, counted by domain, window and entries.
fn override_limit<'v>(
    domain: &Domain,
    calendar_months: bool,
    limit: Override,
    entries: &[Entry<'_>],
    keys: &mut CounterKeys,
) -> Option<Limited<'v>> {
    let period = limit.period?;
    let window = OverrideWindow::new(&period, calendar_months);
    let key = keys::add_override(keys, &domain.name, window, entries);
    let current = CurrentLimit {
        requests_per_unit: limit.requests_per_unit,
        unit: period.unit,
        multiplier: period.multiplier,
        length: period.length,
        name: "",
    };
    let limit = window.limit(limit.requests_per_unit);
    Some(Limited { source: Source::Request(Box::new((limit, current))), key })
}

fn replaces<'v>(resolved: &Resolved<'v>) -> &'v [String] {
    match resolved {
        Resolved::Free(in_force) | Resolved::Rule(in_force, _) => &in_force.rule.replaces,
        Resolved::Nothing | Resolved::Override(..) => &[],
    }
}

/// Drops every limit whose name another matched rule replaces. An unlimited one is still reported as unlimited.
fn drop_replaced(resolved: &mut [Resolved<'_>]) {
    let mut names: SmallVec<[&str; 4]> = resolved.iter().flat_map(replaces).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    for one in resolved {
        if let Resolved::Rule(_, limits) = one {
            limits.retain(|limited| {
                let name = limited.name();
                name.is_empty() || names.binary_search(&name).is_err()
            });
            if limits.is_empty() {
                *one = Resolved::Nothing;
            }
        }
    }
}
