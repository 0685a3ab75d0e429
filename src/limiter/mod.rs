//! The entry point of all front ends: `(now, check) -> Decision`.
//!
//! A check goes through a pipeline of values ([`decide`]):
//!
//! ```text
//! Check --resolve--> Resolved --charge--> Outcomes --decision--> Decision
//!        (rules)                (store)                             |
//!                                                     record, denial (usage)
//! ```
//!
//! Nothing here waits: no `.await`, no lock for longer than one charge, no clock, no log line.

mod candidate;
mod charge;
mod charges;
mod check;
mod counter_changes;
mod counter_view;
mod counters;
mod decide;
mod decision;
mod denial;
mod evaluation;
mod explain;
mod in_force;
mod keys;
mod outcome;
mod overlay;
mod override_window;
mod plan;
mod record;
mod requests;
mod resolve;
mod series_key;
mod settings;
mod sharing;
mod together;
mod transition;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

pub use candidate::{Candidate, Comparison, CounterDifference, CounterName, RuleDifference};
pub use check::{Check, Descriptor, Override};
pub use counter_view::CounterView;
pub use counters::{CounterFilter, CounterPage};
use decide::Context;
pub use decision::{Code, CurrentLimit, Decision, Status};
pub use explain::{ApplicableLimit, Explained, ExplainedLimit};
pub use keys::{DecodedKey, DecodedLimit, KeyError, decode as decode_key};
pub use plan::{Plan, RuleInForce};
pub use settings::{DRAFT_03_NAMES, NEAR_LIMIT_RATIO, Settings};
use sharing::Shared;
pub use sharing::{DownCounts, Progress, Sharing, Spent};
pub use together::{Decisions, PreparedCheck, TOGETHER};
use transition::Transition;

pub use crate::engine::WhenDown;
use crate::rules::{Lifted, Overlay, RuleSet};
use crate::store::lease::Now;
use crate::store::{LimitIds, LimitTable, Memory};
use crate::units::Timestamp;
use crate::usage::Usage;
pub use crate::usage::WorkerSlot;

/// Decides checks. One for the whole process, shared by all front ends.
#[derive(Debug)]
pub struct Limiter {
    plan: ArcSwapOption<Plan>,
    candidate: ArcSwapOption<Candidate>,
    generation: AtomicU64,
    /// Locked while the plan changes, or counters by an operator: each change is made under one plan.
    changing: Mutex<()>,
    limit_ids: LimitIds,
    store: Memory,
    usage: Usage,
    settings: Settings,
    /// `None`: counters are those of this process.
    sharing: Option<Sharing>,
}

impl Limiter {
    /// A limiter without a configuration.
    pub fn new(settings: Settings) -> Self {
        Self {
            plan: ArcSwapOption::empty(),
            candidate: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            changing: Mutex::new(()),
            limit_ids: LimitIds::default(),
            store: Memory::new(settings.counter_budget_bytes, settings.when_full),
            usage: Usage::new(settings.workers, settings.usage_series),
            settings,
            sharing: None,
        }
    }

    /// The same, with counters that replicas share.
    pub fn with_sharing(self, sharing: Option<Sharing>) -> Self {
        let leases = sharing.as_ref().map(|sharing| Arc::clone(sharing.leases()));
        Self { store: self.store.with_leases(leases), sharing, ..self }
    }

    /// What it needs to share its counters, if it does.
    pub fn sharing(&self) -> Option<&Sharing> {
        self.sharing.as_ref()
    }

    /// The time of the store of shared counters, when our clock shows `now`; without one it is the same.
    fn engine_time(&self, now: Timestamp) -> Timestamp {
        self.sharing.as_ref().map_or(now, |sharing| sharing.engine_time(now))
    }

    /// Replaces the configuration atomically, without settings; counters are kept.
    ///
    /// Cost: linear in the number of rules; and a pass over all counters, if the rate of a token bucket or the period of a limit
    /// changes.
    pub fn replace_rules(&self, now: Timestamp, rules: RuleSet) {
        self.put_in_force(now, Arc::new(rules), &Overlay::default());
    }

    /// Replaces the rules and the settings over them atomically; counters are kept. One caller at a time.
    ///
    /// Cost: linear in the number of rules, unless they are those in force: then in the number of changed settings. And a pass
    /// over all counters, if the rate of a token bucket or the period of a limit changes.
    pub fn put_in_force(&self, now: Timestamp, rules: Arc<RuleSet>, overlay: &Overlay) {
        let _changing = self.changing.lock();
        let before = self.plan.load_full();
        let plan = Plan::new(rules, overlay, before.as_deref(), &self.limit_ids, &self.store, &self.usage);
        let plan = Arc::new(plan);
        let transition = before.as_deref().map(|before| Transition::new(before, &plan));
        let limits = self.limits();
        let former = transition.as_ref().map(|transition| transition.copy_bans(&self.store, now, &limits));
        self.plan.store(Some(Arc::clone(&plan)));
        self.generation.fetch_add(1, Ordering::Relaxed);
        former.iter().flatten().for_each(|ban| ban.lift(&self.store, now));
        if let Some(transition) = transition {
            transition.bring_up_to_date(&self.store, now, &limits);
        }
        self.follow_limits(now);
    }

    /// Starts a candidate with these rules, or puts other settings over those of the one that runs; `None` ends it.
    pub fn put_candidate(&self, now: Timestamp, candidate: Option<(&Arc<RuleSet>, &Overlay)>) {
        let Some((rules, overlay)) = candidate else { return self.candidate.store(None) };
        match self.candidate.load_full() {
            Some(known) if Arc::ptr_eq(known.rules(), rules) => {
                known.limiter().put_in_force(now, Arc::clone(rules), overlay);
            }
            _ => {
                let candidate = Candidate::new(now, Arc::clone(rules), overlay, &self.settings);
                self.candidate.store(Some(Arc::new(candidate)));
            }
        }
    }

    /// The candidate that runs.
    pub fn candidate(&self) -> Option<Arc<Candidate>> {
        self.candidate.load_full()
    }

    /// Frees expired counters of the next part of the stores. Returns how long to rest before the next step.
    pub fn sweep_step(&self, now: Timestamp) -> Duration {
        let rest = self.store.sweep_step(now);
        let candidate = self.candidate.load_full().map(|candidate| candidate.limiter().store.sweep_step(now));
        let outage = self.sharing.as_ref().map(|sharing| sharing.sweep_step(now));
        candidate.into_iter().chain(outage).fold(rest, Duration::min)
    }

    /// The number of configurations put in force so far.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The configuration in force, for as long as the view lives. `None` before the first one.
    ///
    /// Cost: no shared cache line is written. Keep it for one check or one batch, not longer.
    pub fn view(&self) -> Option<View<'_>> {
        let plan = self.plan.load();
        plan.is_some().then(|| View { limiter: self, plan, candidate: self.candidate.load() })
    }

    /// The usage.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The limits of the counters, for [`decode_key`]. Load it after the keys, so that it has their limits.
    pub fn limits(&self) -> Arc<LimitTable> {
        self.limit_ids.table()
    }

    /// The store of the counters.
    pub fn store(&self) -> &Memory {
        &self.store
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// One configuration in force, with its limiter.
#[derive(Debug)]
pub struct View<'l> {
    limiter: &'l Limiter,
    plan: Guard<Option<Arc<Plan>>>,
    candidate: Guard<Option<Arc<Candidate>>>,
}

/// The configuration of a [`View`], for a check that waits for the store of shared counters.
#[derive(Clone, Debug)]
pub struct KeptView {
    plan: Option<Arc<Plan>>,
    candidate: Option<Arc<Candidate>>,
}

impl Limiter {
    /// The view that was kept.
    pub fn kept_view(&self, kept: KeptView) -> View<'_> {
        let KeptView { plan, candidate } = kept;
        View { limiter: self, plan: Guard::from_inner(plan), candidate: Guard::from_inner(candidate) }
    }
}

impl View<'_> {
    /// Decides one check; a candidate decides it too, without an effect on the decision.
    pub fn check(&self, worker: WorkerSlot, now: Timestamp, check: &Check<'_>) -> Decision<'_> {
        let Some(context) = self.context(worker, now) else { return Decision::default() };
        let decision = decide::decide(context, check);
        self.compare(worker, now, check, &decision);
        decision
    }

    /// Decides checks that arrived together, each as [`check`](Self::check) does when the iterator comes to it, in their order. One that is not
    /// taken from the iterator is not charged.
    ///
    /// The counters of [`TOGETHER`] of them are loaded before the first of these is charged: that costs less than half of what as many
    /// single checks cost, if the counters are not in the processor's caches.
    pub fn check_all<'v, 's, 'c: 's, I>(
        &'v self,
        worker: WorkerSlot,
        now: Timestamp,
        checks: I,
    ) -> Decisions<'v, 's, 'c, I>
    where
        I: Iterator<Item = &'s Check<'c>>,
    {
        Decisions::new(self, worker, now, checks)
    }

    /// Decides one check whose counters replicas may share, if it need not wait; a candidate decides it, too, without an effect on the
    /// decision. `now` is when it came, and `tried` the present time. `None`: it waits for what `progress` asks. Then call this again with
    /// the same check and `progress`, until it is decided.
    pub fn check_shared(
        &self,
        worker: WorkerSlot,
        now: Timestamp,
        tried: Now,
        check: &Check<'_>,
        progress: &mut Progress,
    ) -> Option<Decision<'_>> {
        match self.context(worker, now) {
            Some(context) if self.limiter.sharing.is_some() => {
                let prepared = PreparedCheck(decide::Prepared::new(context, check));
                self.check_prepared(worker, now, tried, (check, &prepared), progress)
            }
            _ => Some(self.check(worker, now, check)),
        }
    }

    /// The same for a check that was [prepared](Self::prepare) at `now`.
    pub fn check_prepared<'v>(
        &'v self,
        worker: WorkerSlot,
        now: Timestamp,
        tried: Now,
        (check, prepared): (&Check<'_>, &PreparedCheck<'v>),
        progress: &mut Progress,
    ) -> Option<Decision<'v>> {
        let (Some(sharing), Some(context)) = (&self.limiter.sharing, self.context(worker, now)) else {
            return Some(self.check(worker, now, check));
        };
        let shared = Shared { sharing, limit_ids: &self.limiter.limit_ids, now: tried };
        let decision = decide::decide_shared(context, shared, check, &prepared.0, progress)?;
        self.compare(worker, now, check, &decision);
        Some(decision)
    }

    /// The configuration, to be kept longer than for a batch. Cost: two counts of references, which all workers share.
    pub fn keep(&self) -> KeptView {
        KeptView { plan: self.plan.clone(), candidate: self.candidate.clone() }
    }

    /// Has the candidate decide, if there is one.
    fn compare(&self, worker: WorkerSlot, now: Timestamp, check: &Check<'_>, decision: &Decision<'_>) {
        if let Some(candidate) = self.candidate.as_deref() {
            candidate.check(worker, now, check, decision);
        }
    }

    fn context(&self, worker: WorkerSlot, now: Timestamp) -> Option<Context<'_>> {
        let Limiter { store, usage, settings, .. } = self.limiter;
        Some(Context { plan: self.plan.as_deref()?, store, usage, settings, worker, now })
    }

    /// The rules.
    pub fn rules(&self) -> Option<&RuleSet> {
        self.plan.as_deref().map(Plan::rules)
    }

    /// The rules and the settings over them.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_deref()
    }

    /// All domains and rules whose limits are lifted. Cost: linear in the number of rules and settings.
    pub fn lifted(&self) -> Vec<Lifted<'_>> {
        self.plan.as_deref().map(Plan::lifted).unwrap_or_default()
    }

    /// Whether nothing is denied, because the process is in shadow mode and no setting says otherwise.
    pub fn in_global_shadow(&self) -> bool {
        self.limiter.settings.shadow_mode && !self.plan.as_deref().is_some_and(Plan::sets_shadow_mode)
    }
}
