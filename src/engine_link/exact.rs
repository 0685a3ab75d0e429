//! Exact counting: one request of charges, which a script makes in one step.
//!
//! The script decides and keeps the state. Its reply has the state before each charge, from which [`ExactReply`] computes what the
//! engine in memory would have answered: the same code for remaining hits and times.

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::{Cmd, Script};
use smallvec::SmallVec;

use super::exact_reply::{ExactReply, Item, MAX_HITS, Sent};
use super::{LinkError, key::SharedKey};
use crate::engine::{Algorithm, BanWhen, CountDenied, Limit, Op, QueueMode, Starts};
use crate::store::{Group, Role};
use crate::units::{Nanos, Timestamp};

/// One operation on one shared counter.
#[derive(Clone, Copy, Debug)]
pub struct SharedCharge<'a> {
    /// The name of the counter.
    pub key: &'a SharedKey,
    /// Its limit. Lengths of time are in whole microseconds; parts of one are dropped.
    pub limit: &'a Limit,
    /// The operation.
    pub op: Op,
}

/// Charges of several checks in one request to one node.
#[derive(Clone, Debug)]
pub struct ExactBatch {
    /// What the engine's clock is taken to show, for the names of clock windows.
    clock: Timestamp,
    /// The script uses that time, too: in tests.
    is_injected: bool,
    keys: Vec<String>,
    /// The numbers of the checks for the script, of 8 bytes each.
    numbers: Vec<u8>,
    items: Vec<Item>,
    checks: Vec<Sent>,
}

/// A request has as many keys as one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request has at most {MAX_KEYS} keys")]
pub struct TooManyKeys;

impl ExactBatch {
    /// An empty batch. `clock` is the time of the engine, as far as it is known; the charges are made at its own time.
    pub fn new(clock: Timestamp) -> Self {
        Self { clock, is_injected: false, keys: Vec::new(), numbers: Vec::new(), items: Vec::new(), checks: Vec::new() }
    }

    /// An empty batch whose charges are made at `clock`, to compare traces.
    pub fn at(clock: Timestamp) -> Self {
        Self { is_injected: true, ..Self::new(clock) }
    }

    /// Adds a check with one charge.
    ///
    /// # Errors
    /// The batch is full.
    pub fn add(&mut self, charge: SharedCharge<'_>) -> Result<(), TooManyKeys> {
        self.add_check(&[(charge, 0)], ALONE)
    }

    /// Adds a check whose charges are made all or nothing: one that denies keeps the others from being made, except for refunds and
    /// hits that always count.
    ///
    /// # Errors
    /// The batch has no room for all of them.
    pub fn add_jointly(&mut self, charges: &[SharedCharge<'_>]) -> Result<(), TooManyKeys> {
        self.add_groups(&[Group::required(charges.len())], charges)
    }

    /// The same for the charges of several groups, one group after the other; see
    /// [`charge_groups`](crate::store::Memory::charge_groups) of the store in memory, which decides likewise.
    ///
    /// # Errors
    /// The batch has no room for all of them.
    pub fn add_groups(&mut self, groups: &[Group], charges: &[SharedCharge<'_>]) -> Result<(), TooManyKeys> {
        let (mut numbered, mut rest) = (Vec::with_capacity(charges.len()), charges);
        for (number, group) in (0..).zip(groups) {
            let Some((of_group, others)) = rest.split_at_checked(group.charges) else { break };
            numbered.extend(of_group.iter().map(|charge| (*charge, number * ROLES + role(group.role))));
            rest = others;
        }
        let has_free_quota = groups.iter().any(|group| group.role == Role::Quota && group.charges == 0);
        self.add_check(&numbered, if has_free_quota { JOINTLY_WITH_FREE_QUOTA } else { JOINTLY })
    }

    /// Adds a counter that is made fresh, or only if a ban runs. The outcome is that of a look before, and admits it if it was changed.
    ///
    /// # Errors
    /// The batch is full.
    pub fn add_reset(&mut self, charge: SharedCharge<'_>, only_banned: bool) -> Result<(), TooManyKeys> {
        let look = SharedCharge { op: Op::Charge(0), ..charge };
        self.add_check(&[(look, 0)], if only_banned { UNBAN } else { RESET })
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The request by the hash of the script; an engine that has never seen the script answers NOSCRIPT.
    pub fn command(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVALSHA"), SCRIPT.get_hash())
    }

    /// The request with the script.
    pub fn command_with_script(&self) -> Cmd {
        self.with_arguments(redis::cmd("EVAL"), SCRIPT_TEXT)
    }

    /// Reads the reply to this request.
    ///
    /// # Errors
    /// It is not one of the script.
    pub fn read(&self, reply: &redis::Value) -> Result<ExactReply, LinkError> {
        ExactReply::read(reply, &self.items, &self.checks).ok_or(LinkError::Malformed)
    }

    fn add_check(&mut self, charges: &[(SharedCharge<'_>, i64)], how: i64) -> Result<(), TooManyKeys> {
        if self.keys.len() + charges.len() > MAX_KEYS {
            return Err(TooManyKeys);
        }
        let mut order: SmallVec<[_; 1]> = (0..charges.len()).collect();
        // Stable: within a role, that of the check.
        order.sort_by_key(|place| charges.get(*place).map(|(_, group)| group % ROLES));
        self.push([i64::try_from(charges.len()).unwrap_or(0), how]);
        for (charge, group) in order.iter().filter_map(|place| charges.get(*place)) {
            let item = item(charge.limit, charge.op, self.clock);
            self.keys.push(numbered_key(charge.key, &item));
            self.push_fields(&item, *group);
            self.items.push(item);
        }
        self.checks.push(Sent { order });
        Ok(())
    }

    /// The fields of the script.
    fn push_fields(&mut self, item: &Item, group: i64) {
        let Item { limit, op, window_end } = item;
        let is_refund = matches!(op, Op::Refund(_));
        let (algorithm, end) = match (limit.algorithm, window_end) {
            (Algorithm::FixedWindow { .. }, Some(end)) => (1, micros_of(*end)),
            (Algorithm::FixedWindow { starts: Starts::Calendar(calendar) }, None) => {
                (2, micros_of(calendar.window_at(self.clock).end))
            }
            (Algorithm::FixedWindow { starts }, None) => (2, i64::from(starts == Starts::Clock)),
            (Algorithm::SlidingWindow, _) => (3, 0),
            (Algorithm::TokenBucket { .. }, _) => (4, 0),
            (Algorithm::SlidingLog, _) => (5, 0),
        };
        let (burst, queue, hold) = match limit.algorithm {
            Algorithm::TokenBucket { burst, queue } => {
                let hold = if let QueueMode::HoldAtMost(length) = queue.mode { micros(length) } else { -1 };
                (burst, queue.size, hold)
            }
            // The end of the window after the present one, in case that ends before the charge is made.
            Algorithm::FixedWindow { starts: Starts::Calendar(calendar) } => {
                (0, 0, micros_of(calendar.window_at(calendar.window_at(self.clock).end).end))
            }
            _ => (0, 0, -1),
        };
        let denied = match limit.count_denied {
            CountDenied::Never => 0,
            CountDenied::Alone => 1,
            CountDenied::Always => 2,
        };
        self.push([
            algorithm,
            is_refund.into(),
            i64::try_from(hits_of(item).min(MAX_HITS)).unwrap_or(0),
            limit.max.into(),
            micros(limit.window),
            denied,
            limit.ban.map_or(0, |ban| micros(ban.length)),
            limit.ban.is_some_and(|ban| ban.when == BanWhen::Reached).into(),
            burst.into(),
            queue.into(),
            hold,
            end,
            group,
        ]);
    }

    fn push<const COUNT: usize>(&mut self, numbers: [i64; COUNT]) {
        self.numbers.extend_from_slice(numbers.map(i64::to_le_bytes).as_flattened());
    }

    /// The first arguments: the time, and the number of checks.
    fn head(&self) -> [i64; 2] {
        let now = if self.is_injected { micros(Nanos::from_ns(self.clock.as_ns())) } else { 0 };
        [now, i64::try_from(self.checks.len()).unwrap_or(0)]
    }

    fn with_arguments(&self, mut command: Cmd, script: &str) -> Cmd {
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.head()[..]).arg(&self.numbers);
        command
    }
}

const fn role(role: Role) -> i64 {
    match role {
        Role::Required => 0,
        Role::Quota => 1,
        Role::Observed => 2,
    }
}

/// A charge as the engine makes it, when its clock shows `clock`.
pub(super) fn item(limit: &Limit, op: Op, clock: Timestamp) -> Item {
    let limit = in_microseconds(limit);
    Item { limit, op, window_end: window_end(&limit, clock) }
}

pub(super) const fn hits_of(item: &Item) -> u64 {
    match item.op {
        Op::Charge(hits) | Op::Refund(hits) => hits,
    }
}

/// The name of a counter, with the number of its window if it has one.
pub(super) fn numbered_key(key: &SharedKey, item: &Item) -> String {
    match item.window_end {
        Some(end) => {
            let mut name = String::with_capacity(key.as_str().len() + LONGEST_NUMBER);
            name.push_str(key.as_str());
            // Writing to a string does not fail.
            let _ok = write!(name, ":{}", window_number(&item.limit, end.as_us()));
            name
        }
        None => key.as_str().to_owned(),
    }
}

/// The end of the window whose number is a part of the key. A ban outlives the window, so it has no number in its key.
fn window_end(limit: &Limit, clock: Timestamp) -> Option<Timestamp> {
    limit.aligned_end(clock).filter(|_| limit.ban.is_none())
}

/// The number in the name of a window that ends at this microsecond: how many windows there were until then. Those of a calendar differ in
/// length, so theirs is the second of the end.
pub(super) fn window_number(limit: &Limit, end_us: u64) -> u64 {
    let length_us = limit.window.as_ns() / 1_000;
    end_us / if limit.calendar().is_some() { 1_000_000 } else { length_us.max(1) }
}

/// The same limit, with the lengths of time that the engine knows.
fn in_microseconds(limit: &Limit) -> Limit {
    let whole = |length: Nanos| Nanos::from_ns((length.as_ns() / 1_000).max(1) * 1_000);
    let mut limit = *limit;
    limit.window = whole(limit.window);
    if let Some(ban) = &mut limit.ban {
        ban.length = whole(ban.length);
    }
    if let Algorithm::TokenBucket { queue, .. } = &mut limit.algorithm
        && let QueueMode::HoldAtMost(length) = &mut queue.mode
    {
        *length = Nanos::from_ns(length.as_ns() / 1_000 * 1_000);
    }
    limit
}

fn micros_of(instant: Timestamp) -> i64 {
    micros(instant.since(Timestamp::EPOCH))
}

fn micros(length: Nanos) -> i64 {
    i64::try_from(length.as_ns() / 1_000).unwrap_or(i64::MAX)
}

/// Of the bytes of a number of a window, with the colon.
const LONGEST_NUMBER: usize = 21;
/// How a check is charged, for the script.
const ALONE: i64 = 0;
const JOINTLY: i64 = 1;
const JOINTLY_WITH_FREE_QUOTA: i64 = 2;
/// The same for what is not charged, but made fresh.
const RESET: i64 = 3;
const UNBAN: i64 = 4;
/// The script gets the number of a group and its role as one number; this is above every role.
const ROLES: i64 = 4;
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SCRIPT_TEXT));
const SCRIPT_TEXT: &str = concat!(include_str!("scripts/values.lua"), include_str!("scripts/exact.lua"));
/// Keys of one request: with more, others on the engine would wait for it for milliseconds.
pub(super) const MAX_KEYS: usize = 256;
