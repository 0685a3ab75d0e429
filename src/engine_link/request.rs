//! What many checks ask of one node, in one request.
//!
//! It is a pipeline: one script for all charges and one for all leases, or in a cluster one of each for every slot; and INCRBY for plain
//! windows.

use std::borrow::Cow;

use redis::{Cmd, Pipeline, Value};
use smallvec::{SmallVec, smallvec};

use super::error::{LinkError, Remedy};
use super::exact::{ExactBatch, MAX_KEYS, SharedCharge, TooManyKeys};
use super::exact_reply::{CheckOutcome, ExactReply};
use super::key::SharedKey;
use super::lease::{LeaseBatch, LeaseReply};
use super::plain::PlainBatch;
use super::slot::slot_of;
use crate::engine::{Limit, Op};
use crate::store::lease::Answer;
use crate::store::{Group, LeaseAsk};
use crate::units::Timestamp;

/// Charges that are made in one step: of one counter, or of several all or nothing.
#[derive(Clone, Debug)]
pub struct SharedCheck {
    /// The groups of the charges; none: one charge on its own.
    pub groups: SmallVec<[Group; 1]>,
    /// The charges of the groups, one group after the other. At least one; in a cluster all in one slot.
    pub charges: SmallVec<[KeyedCharge; 1]>,
    /// How.
    pub how: How,
}

/// What is done with the counters of a [`SharedCheck`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum How {
    /// The script charges them.
    #[default]
    Script,
    /// INCRBY charges the only one: its window has been charged before by this process, and [`PlainBatch::takes`] the charge.
    Plain,
    /// The script makes the only one fresh, whatever its operation is. The outcome admits it if it was not.
    Reset,
    /// The same, but only if a ban runs.
    Unban,
}

/// One operation on one shared counter, with its own parts.
#[derive(Clone, Debug)]
pub struct KeyedCharge {
    /// The name of the counter.
    pub key: SharedKey,
    /// Its limit.
    pub limit: Limit,
    /// The operation.
    pub op: Op,
}

/// Checks and leases of one node in one request.
#[derive(Debug)]
pub struct ChargeRequest {
    clock: Timestamp,
    form: RequestForm,
    scripts: Vec<Script>,
    plain: PlainBatch,
    /// The places of the checks that are charged plainly.
    plain_places: Vec<usize>,
    checks: usize,
    leases: usize,
    keys: usize,
}

/// What a node wants of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestForm {
    /// A script has keys of one slot.
    pub by_slot: bool,
    /// Each command follows ASKING, because its slot is moving to this node.
    pub is_asking: bool,
}

/// What one script does.
#[derive(Debug)]
struct Script {
    slot: Option<u16>,
    work: Work,
    /// The places of its checks, or of its leases.
    places: Vec<usize>,
}

#[derive(Debug)]
enum Work {
    Charges(ExactBatch),
    Leases(LeaseBatch),
}

/// The outcomes of a request.
#[derive(Debug, Default)]
pub struct RequestOutcomes {
    /// The outcome of each check, or why there is none.
    pub checks: Vec<Result<CheckOutcome, LinkError>>,
    /// The answer to each lease, or why there is none; `None`: the counter has a value that is not ours.
    pub leases: Vec<Result<Option<Answer>, LinkError>>,
}

impl RequestOutcomes {
    /// The errors of checks and leases.
    pub(super) fn errors(&self) -> impl Iterator<Item = &LinkError> {
        let checks = self.checks.iter().filter_map(|outcome| outcome.as_ref().err());
        checks.chain(self.leases.iter().filter_map(|answer| answer.as_ref().err()))
    }
}

impl SharedCheck {
    /// The slot of its counters in a cluster.
    pub fn slot(&self) -> u16 {
        self.charges.first().map_or(0, |charge| charge.key.slot())
    }

    /// Whether a request has room for all of its keys.
    pub fn fits(&self) -> bool {
        self.charges.len() <= MAX_KEYS
    }

    /// Whether all of its counters are in one slot.
    pub fn is_in_one_slot(&self) -> bool {
        match &self.charges[..] {
            [] | [_] => true,
            [first, others @ ..] => others.iter().all(|charge| charge.key.slot() == first.key.slot()),
        }
    }
}

impl KeyedCharge {
    fn borrowed(&self) -> SharedCharge<'_> {
        SharedCharge { key: &self.key, limit: &self.limit, op: self.op }
    }
}

impl ChargeRequest {
    /// An empty request. `clock` is the time of the engine, as far as it is known.
    pub fn new(clock: Timestamp, form: RequestForm) -> Self {
        let plain = PlainBatch::new(clock);
        Self { clock, form, scripts: Vec::new(), plain, plain_places: Vec::new(), checks: 0, leases: 0, keys: 0 }
    }

    /// Adds a check.
    ///
    /// # Errors
    /// The request has no room for all of its charges.
    pub fn add(&mut self, check: &SharedCheck) -> Result<(), TooManyKeys> {
        if self.keys + check.charges.len() > MAX_KEYS {
            return Err(TooManyKeys);
        }
        match &check.charges[..] {
            [only] if check.how == How::Plain => {
                self.plain.add(only.borrowed())?;
                self.plain_places.push(self.checks);
            }
            charges => {
                let (place, clock) = (self.checks, self.clock);
                let script = self.script(
                    || check.slot(),
                    |work| matches!(work, Work::Charges(_)),
                    || Work::Charges(ExactBatch::new(clock)),
                );
                let Work::Charges(batch) = &mut script.work else { return Err(TooManyKeys) };
                match charges {
                    [only] if check.how == How::Reset => batch.add_reset(only.borrowed(), false)?,
                    [only] if check.how == How::Unban => batch.add_reset(only.borrowed(), true)?,
                    [only] if check.groups.is_empty() => batch.add(only.borrowed())?,
                    several => {
                        let several: SmallVec<[_; 4]> = several.iter().map(KeyedCharge::borrowed).collect();
                        batch.add_groups(&check.groups, &several)?;
                    }
                }
                script.places.push(place);
            }
        }
        (self.checks, self.keys) = (self.checks + 1, self.keys + check.charges.len());
        Ok(())
    }

    /// Adds what a lease asks.
    ///
    /// # Errors
    /// The request has no room for it.
    pub fn add_lease(&mut self, lease: &LeaseAsk) -> Result<(), TooManyKeys> {
        if self.is_full() {
            return Err(TooManyKeys);
        }
        let place = self.leases;
        let script = self.script(
            || slot_of(&lease.name),
            |work| matches!(work, Work::Leases(_)),
            || Work::Leases(LeaseBatch::new()),
        );
        let Work::Leases(batch) = &mut script.work else { return Err(TooManyKeys) };
        batch.add(&lease.name, &lease.terms, &lease.ask)?;
        script.places.push(place);
        (self.leases, self.keys) = (self.leases + 1, self.keys + 1);
        Ok(())
    }

    /// Whether it has room for no other key.
    pub const fn is_full(&self) -> bool {
        self.keys >= MAX_KEYS
    }

    /// The number of checks.
    pub const fn len(&self) -> usize {
        self.checks
    }

    /// The number of leases.
    pub const fn leases(&self) -> usize {
        self.leases
    }

    /// Whether it asks for nothing.
    pub const fn is_empty(&self) -> bool {
        self.checks == 0 && self.leases == 0
    }

    /// The same error for everything that is asked.
    pub(super) fn failed(&self, error: &LinkError) -> RequestOutcomes {
        let checks = std::iter::repeat_with(|| Err(error.clone())).take(self.checks).collect();
        let leases = std::iter::repeat_with(|| Err(error.clone())).take(self.leases).collect();
        RequestOutcomes { checks, leases }
    }

    /// The number of keys.
    pub const fn keys(&self) -> usize {
        self.keys
    }

    /// The script for a slot that does such work, which is made if there is none.
    fn script(
        &mut self,
        slot: impl FnOnce() -> u16,
        does: impl Fn(&Work) -> bool,
        make: impl FnOnce() -> Work,
    ) -> &mut Script {
        let slot = self.form.by_slot.then(slot);
        let known = self.scripts.iter().position(|script| script.slot == slot && does(&script.work));
        let at = known.unwrap_or(self.scripts.len());
        if known.is_none() {
            self.scripts.push(Script { slot, work: make(), places: Vec::new() });
        }
        // It was just found or added.
        #[allow(clippy::indexing_slicing)]
        &mut self.scripts[at]
    }

    /// The request, with the scripts by their hash.
    pub(super) fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(self.scripts.len() + self.plain_places.len());
        for command in self.scripts.iter().map(Script::command).chain(self.plain.commands()) {
            if self.form.is_asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(command);
        }
        pipeline
    }

    /// Reads the replies; the second value is the time of the engine, if a script said it.
    pub(super) fn read(&self, replies: &[Value]) -> (RequestOutcomes, Option<Timestamp>) {
        let mut outcomes = self.failed(&LinkError::Malformed);
        let mut now = None;
        let replies = self.without_asking(replies);
        for (script, reply) in self.scripts.iter().zip(&*replies) {
            let read = script.put(reply, &mut outcomes);
            now = now.or(read);
        }
        let plain = replies.get(self.scripts.len()..).unwrap_or_default();
        let read = self.plain.read(plain);
        for ((place, reply), outcome) in self.plain_places.iter().zip(plain).zip(read) {
            if let Some(slot) = outcomes.checks.get_mut(*place) {
                *slot = plain_outcome(reply, outcome);
            }
        }
        (outcomes, now)
    }

    /// The scripts that the node does not know, whole, and which they are; `None`: it knows all.
    pub(super) fn whole_scripts(&self, outcomes: &RequestOutcomes) -> Option<(Pipeline, Vec<usize>)> {
        let is_unknown =
            |script: &Script| script.error(outcomes).is_some_and(|error| error.remedy() == Remedy::SendScript);
        let unknown: Vec<_> = (0..).zip(&self.scripts).filter(|(_, script)| is_unknown(script)).collect();
        let mut pipeline = Pipeline::new();
        for (_, script) in &unknown {
            if self.form.is_asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(script.command_with_script());
        }
        (!unknown.is_empty()).then(|| (pipeline, unknown.into_iter().map(|(place, _)| place).collect()))
    }

    /// Puts the replies to those in place of the outcomes before; or the error, if there are none.
    pub(super) fn read_whole(
        &self,
        scripts: &[usize],
        replies: &Result<Vec<Value>, LinkError>,
        outcomes: &mut RequestOutcomes,
    ) {
        let scripts = scripts.iter().filter_map(|place| self.scripts.get(*place));
        match replies {
            Ok(replies) => {
                for (script, reply) in scripts.zip(&*self.without_asking(replies)) {
                    script.put(reply, outcomes);
                }
            }
            Err(error) => scripts.for_each(|script| script.fail(error, outcomes)),
        }
    }

    /// What sets the expiry of plain windows that the engine has forgotten.
    pub(super) fn expiries(&self, replies: &[Value]) -> Option<Pipeline> {
        let replies = self.without_asking(replies);
        self.plain.expiries(replies.get(self.scripts.len()..).unwrap_or_default())
    }

    fn without_asking<'r>(&self, replies: &'r [Value]) -> Cow<'r, [Value]> {
        if self.form.is_asking {
            return replies.iter().skip(1).step_by(2).cloned().collect();
        }
        Cow::Borrowed(replies)
    }
}

impl Script {
    fn command(&self) -> Cmd {
        match &self.work {
            Work::Charges(batch) => batch.command(),
            Work::Leases(batch) => batch.command(),
        }
    }

    fn command_with_script(&self) -> Cmd {
        match &self.work {
            Work::Charges(batch) => batch.command_with_script(),
            Work::Leases(batch) => batch.command_with_script(),
        }
    }

    /// Enters what the reply says. Returns the time of the engine.
    fn put(&self, reply: &Value, outcomes: &mut RequestOutcomes) -> Option<Timestamp> {
        let read = match reply {
            Value::ServerError(error) => Err(LinkError::rejected(error)),
            reply => match &self.work {
                Work::Charges(batch) => batch.read(reply).map(|ExactReply { now, checks }| {
                    enter(&self.places, checks, &mut outcomes.checks);
                    now
                }),
                Work::Leases(batch) => batch.read(reply).map(|LeaseReply { now, answers }| {
                    enter(&self.places, answers, &mut outcomes.leases);
                    now
                }),
            },
        };
        read.inspect_err(|error| self.fail(error, outcomes)).ok()
    }

    /// Enters an error for everything that is asked.
    fn fail(&self, error: &LinkError, outcomes: &mut RequestOutcomes) {
        for place in &self.places {
            match &self.work {
                Work::Charges(_) => put(*place, Err(error.clone()), &mut outcomes.checks),
                Work::Leases(_) => put(*place, Err(error.clone()), &mut outcomes.leases),
            }
        }
    }

    /// The error of what it asked first, which is that of all if the script could not be run.
    fn error<'o>(&self, outcomes: &'o RequestOutcomes) -> Option<&'o LinkError> {
        let first = *self.places.first()?;
        match &self.work {
            Work::Charges(_) => outcomes.checks.get(first)?.as_ref().err(),
            Work::Leases(_) => outcomes.leases.get(first)?.as_ref().err(),
        }
    }
}

/// Enters what is found, one at each place.
fn enter<T>(places: &[usize], found: Vec<T>, outcomes: &mut [Result<T, LinkError>]) {
    for (place, one) in places.iter().zip(found) {
        put(*place, Ok(one), outcomes);
    }
}

fn put<T>(place: usize, outcome: Result<T, LinkError>, outcomes: &mut [Result<T, LinkError>]) {
    if let Some(slot) = outcomes.get_mut(place) {
        *slot = outcome;
    }
}

/// The outcome of a charge by INCRBY. An error that only concerns the value is one of the counter.
fn plain_outcome(reply: &Value, outcome: Option<super::exact_reply::SharedOutcome>) -> Result<CheckOutcome, LinkError> {
    if let Value::ServerError(error) = reply {
        let error = LinkError::rejected(error);
        if error.remedy() != Remedy::Fail {
            return Err(error);
        }
    }
    let admitted = outcome.as_ref().is_none_or(|known| known.outcome.admitted());
    Ok(CheckOutcome { admitted, counters: smallvec![outcome] })
}
