//! The charges of many checks in one request to one node.
//!
//! It is a pipeline: one script for all charges, or in a cluster one for each slot; and INCRBY for plain windows.

use redis::{Pipeline, Value};
use smallvec::SmallVec;

use super::error::{LinkError, Remedy};
use super::exact::{ExactBatch, MAX_KEYS, SharedCharge, TooManyKeys};
use super::exact_reply::{CheckOutcome, ExactReply};
use super::key::SharedKey;
use super::plain::PlainBatch;
use crate::engine::{Limit, Op};
use crate::store::Group;
use crate::units::Timestamp;

/// Charges that are made in one step: of one counter, or of several all or nothing.
#[derive(Clone, Debug)]
pub struct SharedCheck {
    /// The groups of the charges; none: one charge on its own.
    pub groups: SmallVec<[Group; 1]>,
    /// The charges of the groups, one group after the other. At least one; in a cluster all in one slot.
    pub charges: SmallVec<[KeyedCharge; 1]>,
    /// The window of the only charge has been charged before by this process, and [`PlainBatch::takes`] it.
    pub is_plain: bool,
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

/// Checks of one node in one request.
#[derive(Debug)]
pub struct ChargeRequest {
    clock: Timestamp,
    form: RequestForm,
    scripts: Vec<Script>,
    plain: PlainBatch,
    /// The places of the checks that are charged plainly.
    plain_places: Vec<usize>,
    checks: usize,
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

/// The charges of one script.
#[derive(Debug)]
struct Script {
    slot: Option<u16>,
    batch: ExactBatch,
    /// The places of its checks.
    places: Vec<usize>,
}

/// The outcome of each check, or why there is none.
pub type ChargeOutcomes = Vec<Result<CheckOutcome, LinkError>>;

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
        Self { clock, form, scripts: Vec::new(), plain, plain_places: Vec::new(), checks: 0, keys: 0 }
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
            [only] if check.is_plain => {
                self.plain.add(only.borrowed())?;
                self.plain_places.push(self.checks);
            }
            charges => {
                let place = self.checks;
                let Script { batch, places, .. } = self.script(check);
                match charges {
                    [only] if check.groups.is_empty() => batch.add(only.borrowed())?,
                    several => {
                        let several: SmallVec<[_; 4]> = several.iter().map(KeyedCharge::borrowed).collect();
                        batch.add_groups(&check.groups, &several)?;
                    }
                }
                places.push(place);
            }
        }
        (self.checks, self.keys) = (self.checks + 1, self.keys + check.charges.len());
        Ok(())
    }

    /// The number of checks.
    pub const fn len(&self) -> usize {
        self.checks
    }

    /// Whether it has no checks.
    pub const fn is_empty(&self) -> bool {
        self.checks == 0
    }

    /// The number of keys.
    pub const fn keys(&self) -> usize {
        self.keys
    }

    fn script(&mut self, check: &SharedCheck) -> &mut Script {
        let slot = self.form.by_slot.then(|| check.slot());
        let known = self.scripts.iter().position(|script| script.slot == slot).unwrap_or(self.scripts.len());
        if known == self.scripts.len() {
            self.scripts.push(Script { slot, batch: ExactBatch::new(self.clock), places: Vec::new() });
        }
        // It was just found or added.
        #[allow(clippy::indexing_slicing)]
        &mut self.scripts[known]
    }

    /// The request, with the scripts by their hash.
    pub(super) fn pipeline(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let plain = self.plain.pipeline().cmd_iter().cloned();
        for command in self.scripts.iter().map(|script| script.batch.command()).chain(plain) {
            if self.form.is_asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(command);
        }
        pipeline
    }

    /// Reads the replies; the second value is the time of the engine, if a script said it.
    pub(super) fn read(&self, replies: &[Value]) -> (ChargeOutcomes, Option<Timestamp>) {
        let mut outcomes: ChargeOutcomes = vec![Err(LinkError::Malformed); self.checks];
        let mut now = None;
        let replies = self.without_asking(replies);
        for (script, reply) in self.scripts.iter().zip(&replies) {
            let read = script.read(reply);
            now = now.or(read.as_ref().ok().map(|reply| reply.now));
            script.put(read, &mut outcomes);
        }
        let plain = replies.get(self.scripts.len()..).unwrap_or_default();
        let read = self.plain.read(plain);
        for ((place, reply), outcome) in self.plain_places.iter().zip(plain).zip(read) {
            if let Some(slot) = outcomes.get_mut(*place) {
                *slot = plain_outcome(reply, outcome);
            }
        }
        (outcomes, now)
    }

    /// The scripts that the node does not know, whole, and which they are; `None`: it knows all.
    pub(super) fn whole_scripts(&self, outcomes: &ChargeOutcomes) -> Option<(Pipeline, Vec<usize>)> {
        let is_unknown = |script: &Script| {
            let first = script.places.first().and_then(|place| outcomes.get(*place));
            matches!(first, Some(Err(error)) if error.remedy() == Remedy::SendScript)
        };
        let unknown: Vec<_> = (0..).zip(&self.scripts).filter(|(_, script)| is_unknown(script)).collect();
        let mut pipeline = Pipeline::new();
        for (_, script) in &unknown {
            if self.form.is_asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(script.batch.command_with_script());
        }
        (!unknown.is_empty()).then(|| (pipeline, unknown.into_iter().map(|(place, _)| place).collect()))
    }

    /// Puts the replies to those in place of the outcomes before.
    pub(super) fn read_whole(&self, scripts: &[usize], replies: &[Value], outcomes: &mut ChargeOutcomes) {
        let replies = self.without_asking(replies);
        for (script, reply) in scripts.iter().filter_map(|place| self.scripts.get(*place)).zip(&replies) {
            script.put(script.read(reply), outcomes);
        }
    }

    /// What sets the expiry of plain windows that the engine has forgotten.
    pub(super) fn expiries(&self, replies: &[Value]) -> Option<Pipeline> {
        let replies = self.without_asking(replies);
        self.plain.expiries(replies.get(self.scripts.len()..).unwrap_or_default())
    }

    fn without_asking(&self, replies: &[Value]) -> Vec<Value> {
        let (skip, step) = if self.form.is_asking { (1, 2) } else { (0, 1) };
        replies.iter().skip(skip).step_by(step).cloned().collect()
    }
}

impl Script {
    fn read(&self, reply: &Value) -> Result<ExactReply, LinkError> {
        match reply {
            Value::ServerError(error) => Err(LinkError::rejected(error)),
            reply => self.batch.read(reply),
        }
    }

    fn put(&self, read: Result<ExactReply, LinkError>, outcomes: &mut ChargeOutcomes) {
        let mut checks = read.map(|reply| reply.checks.into_iter());
        for place in &self.places {
            let outcome = match &mut checks {
                Ok(checks) => checks.next().ok_or(LinkError::Malformed),
                Err(error) => Err(error.clone()),
            };
            if let Some(slot) = outcomes.get_mut(*place) {
                *slot = outcome;
            }
        }
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
    Ok(CheckOutcome { admitted, counters: vec![outcome] })
}
