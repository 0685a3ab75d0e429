//! How far a check is that may have to wait for the store.

use smallvec::SmallVec;

use crate::engine::{Outcome, Verdict, WhenDown};
use crate::engine_link::{CheckOutcome, SharedCheck};
use crate::store::{Charged, Group, Role, Ticket};
use crate::units::Nanos;

/// How far a check is with its counters, kept with a check that waits.
#[derive(Debug, Default)]
pub struct Progress {
    steps: SmallVec<[Step; 1]>,
    /// Charges to be asked for.
    asks: SmallVec<[(usize, Box<SharedCheck>); 1]>,
    /// Leases to be renewed soon, by key.
    renewals: SmallVec<[Box<[u8]>; 1]>,
    /// It does not wait any longer.
    pub(super) is_over: bool,
    /// What decided in place of the store.
    pub(super) down: Option<WhenDown>,
    /// Between how many replicas limits are divided: the same for the whole check.
    pub(super) replicas: u32,
}

/// What is charged all or nothing: one descriptor, or all of them.
#[derive(Debug, Default)]
pub(super) enum Step {
    /// It has just come.
    #[default]
    New,
    /// It waits for leases: a ticket for each member that does. Nothing is charged.
    Leased(SmallVec<[Option<Ticket>; 1]>),
    /// It waits for the store to charge exact counters.
    Exact,
    /// The store has answered; `None`: or will not.
    Outcome(Option<CheckOutcome>),
    /// Its counters are shared in several ways.
    Mixed(Box<Mixed>),
    /// It is decided.
    Known(Answered),
}

/// The outcomes of a step, and whether it admits the check.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    pub(super) outcomes: SmallVec<[Charged; 1]>,
    pub(super) admitted: bool,
}

/// How far a step is whose counters are shared in several ways.
#[derive(Debug)]
pub(super) struct Mixed {
    /// One for each leased member, while it waits for them.
    pub(super) tickets: SmallVec<[Option<Ticket>; 1]>,
    /// One for each member.
    pub(super) found: SmallVec<[Found; 2]>,
    pub(super) stage: Stage,
}

/// What was found of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) charged: Charged,
    /// Its hits are charged in memory.
    pub(super) is_spent: bool,
}

/// What a mixed step waits for.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing is charged.
    Leases,
    /// The store is asked for the exact members.
    Exact,
    /// It has answered; `None`: or will not.
    Answered(Option<CheckOutcome>),
}

impl Progress {
    /// Takes the charges to be asked for: the place of the answer, and the charges.
    pub fn take_asks(&mut self) -> SmallVec<[(usize, Box<SharedCheck>); 1]> {
        std::mem::take(&mut self.asks)
    }

    /// Takes the keys of leases to be renewed soon. Some are there of a check that is decided, too.
    pub fn take_renewals(&mut self) -> SmallVec<[Box<[u8]>; 1]> {
        std::mem::take(&mut self.renewals)
    }

    /// Leases for which it waits.
    pub fn tickets(&mut self) -> impl Iterator<Item = &mut Ticket> {
        let of_step = |step| match step {
            &mut Step::Leased(ref mut tickets) => &mut tickets[..],
            &mut Step::Mixed(ref mut mixed) => &mut mixed.tickets[..],
            Step::New | Step::Exact | Step::Outcome(_) | Step::Known(_) => &mut [],
        };
        let tickets = self.steps.iter_mut().flat_map(of_step).flatten();
        tickets.filter(|ticket| ticket.heard().is_none())
    }

    /// Enters what the store said of the charges at this place; `None`: it did not answer, or could not be asked.
    pub fn put(&mut self, place: usize, outcome: Option<CheckOutcome>) {
        match self.steps.get_mut(place) {
            Some(Step::Mixed(mixed)) => mixed.answer(outcome),
            Some(step) => *step = Step::Outcome(outcome),
            None => {}
        }
    }

    /// Whether it does not wait any longer.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// It does not wait any longer: what has no answer is decided as while the store is down.
    pub fn give_up(&mut self) {
        self.is_over = true;
    }

    /// Returns whether the check has just come.
    pub(super) fn begin(&mut self, replicas: u32) -> bool {
        let is_new = self.steps.is_empty();
        if is_new {
            self.replicas = replicas.max(1);
        }
        is_new
    }

    /// The only step of a check waits for a lease.
    pub(super) fn wait_for(&mut self, ticket: Option<Ticket>) {
        self.steps.clear();
        self.steps.push(Step::Leased(SmallVec::from_buf([ticket])));
    }

    pub(super) fn take_step(&mut self, place: usize) -> Step {
        if self.steps.len() <= place {
            self.steps.resize_with(place + 1, Step::default);
        }
        self.steps.get_mut(place).map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn put_step(&mut self, place: usize, step: Step) {
        if let Some(slot) = self.steps.get_mut(place) {
            *slot = step;
        }
    }

    pub(super) fn ask(&mut self, place: usize, check: Box<SharedCheck>) {
        self.asks.push((place, check));
    }

    pub(super) fn renew(&mut self, key: &[u8]) {
        self.renewals.push(key.into());
    }

    /// What decided in place of the store, if that was necessary; once.
    pub(super) fn take_down(&mut self) -> Option<WhenDown> {
        self.down.take()
    }

    pub(super) fn is_decided(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Known(_)))
    }

    /// Takes the outcomes of all steps; `None`: some are not known yet.
    pub(super) fn take_answered(&mut self) -> Option<SmallVec<[Answered; 1]>> {
        let answered = |step: &mut Step| match std::mem::take(step) {
            Step::Known(answered) => answered,
            _ => Answered::default(),
        };
        self.is_decided().then(|| self.steps.iter_mut().map(answered).collect())
    }
}

impl Mixed {
    pub(super) fn new(members: usize) -> Self {
        let admitted = Outcome { verdict: Verdict::ADMITTED, before: 0, after: 0, remaining: 0, reset: Nanos::ZERO };
        let found = Found { charged: Charged { outcome: admitted, series_id: None }, is_spent: false };
        let found = std::iter::repeat_n(found, members).collect();
        Self { tickets: SmallVec::new(), found, stage: Stage::Leases }
    }

    pub(super) fn answer(&mut self, outcome: Option<CheckOutcome>) {
        self.stage = Stage::Answered(outcome);
    }

    /// Enters what was found of the members at these places.
    pub(super) fn put(&mut self, places: &[usize], found: impl IntoIterator<Item = (Charged, bool)>) {
        for (place, (charged, is_spent)) in places.iter().zip(found) {
            if let Some(slot) = self.found.get_mut(*place) {
                *slot = Found { charged, is_spent };
            }
        }
    }

    /// Whether a required group denies the check, as far as is known.
    pub(super) fn is_denied(&self, groups: &[Group]) -> bool {
        let mut found = self.found.iter();
        groups.iter().any(|group| {
            let mut of_group = found.by_ref().take(group.charges);
            let is_over = of_group.by_ref().any(|found| !found.charged.outcome.admitted());
            of_group.for_each(drop);
            is_over && group.role == Role::Required
        })
    }
}
