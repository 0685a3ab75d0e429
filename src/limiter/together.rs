//! Decides checks that arrived together: what their counters need from memory is loaded at once.
//!
//! ```text
//! [Check] --prepare--> [Prepared] --load--> caches; then for each, in the order of arrival: charge, conclude, record
//!         (rules, keys)          (store, usage)
//! ```
//! Preparing depends on the configuration alone, and loading has no effect, so the decisions are those of the same checks one by one.

use smallvec::SmallVec;

use super::check::Check;
use super::decide::{Context, Prepared, decide_prepared};
use super::{Decision, View};
use crate::units::Timestamp;
use crate::usage::{Series, WorkerSlot};

/// The decisions of [`View::check_all`].
#[derive(Debug)]
pub struct Decisions<'v, 's, 'c, I> {
    view: &'v View<'v>,
    worker: WorkerSlot,
    now: Timestamp,
    checks: I,
    /// The next check, if no other came with it.
    alone: Option<&'s Check<'c>>,
    /// Those that were prepared together: at most [`TOGETHER`].
    prepared: Vec<(&'s Check<'c>, Prepared<'v>)>,
    /// The first one that is not decided.
    next: usize,
}

impl<'v, 's, 'c: 's, I: Iterator<Item = &'s Check<'c>>> Decisions<'v, 's, 'c, I> {
    pub(super) fn new(view: &'v View<'v>, worker: WorkerSlot, now: Timestamp, checks: I) -> Self {
        let mut decisions = Self { view, worker, now, checks, alone: None, prepared: Vec::new(), next: 0 };
        decisions.prepare();
        decisions
    }

    /// Prepares the next checks in place of those that are decided.
    fn prepare(&mut self) {
        self.prepared.clear();
        self.next = 0;
        let Some(first) = self.checks.next() else { return };
        let others = self.view.context(self.worker, self.now).zip(self.checks.next());
        let Some((context, second)) = others else {
            self.alone = Some(first);
            return;
        };
        self.prepared.reserve_exact(TOGETHER);
        let checks = [first, second].into_iter().chain(self.checks.by_ref().take(TOGETHER - 2));
        self.prepared.extend(checks.map(|check| (check, Prepared::new(context, check))));
        load(context, self.prepared.iter().map(|(_, prepared)| prepared));
    }
}

impl<'v, 's, 'c: 's, I: Iterator<Item = &'s Check<'c>>> Iterator for Decisions<'v, 's, 'c, I> {
    type Item = Decision<'v>;

    fn next(&mut self) -> Option<Decision<'v>> {
        if self.next == self.prepared.len() && self.alone.is_none() {
            self.prepare();
        }
        if let Some(check) = self.alone.take() {
            return Some(self.view.check(self.worker, self.now, check));
        }
        let (check, prepared) = self.prepared.get(self.next)?;
        self.next += 1;
        let decision = decide_prepared(self.view.context(self.worker, self.now)?, check, prepared);
        self.view.compare(self.worker, self.now, check, &decision);
        Some(decision)
    }
}

/// A check whose limits have been found, for [`View::check_prepared`].
#[derive(Debug)]
pub struct PreparedCheck<'v>(pub(super) Prepared<'v>);

impl View<'_> {
    /// Finds the limits of checks that arrived together, at most [`TOGETHER`], and loads their counters. Nothing is charged or counted.
    ///
    /// `None`: there is no configuration.
    pub fn prepare<'v, 's, 'c: 's>(
        &'v self,
        worker: WorkerSlot,
        now: Timestamp,
        checks: impl IntoIterator<Item = &'s Check<'c>>,
    ) -> Option<Vec<PreparedCheck<'v>>> {
        let context = self.context(worker, now)?;
        let prepared: Vec<_> =
            checks.into_iter().take(TOGETHER).map(|check| PreparedCheck(Prepared::new(context, check))).collect();
        load(context, prepared.iter().map(|PreparedCheck(prepared)| prepared));
        Some(prepared)
    }
}

/// Loads the counters of these checks, and then their series.
fn load<'p, 'v: 'p>(context: Context<'_>, prepared: impl Iterator<Item = &'p Prepared<'v>> + Clone) {
    let Context { store, usage, .. } = context;
    let mut series: SmallVec<[Series; TOGETHER]> = SmallVec::new();
    store.load_ahead(prepared.flat_map(Prepared::counters), |number| series.push(Series(number)));
    usage.load_ahead(&series);
}

/// Checks whose counters are loaded together. More would gain little, and displace from the first cache what they have loaded.
pub const TOGETHER: usize = 32;
