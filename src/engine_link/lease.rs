//! Leases: one request of asks about counters, which a script answers in one step.
//!
//! The script grants, takes back what was not spent, and keeps the state, in the keys and the form of exact counting, so that a limit
//! may be shared by replicas of which some count exactly. What it does is [`Central`](crate::store::lease::Central) in Rust.

use std::sync::LazyLock;

use redis::{Cmd, Script, Value};

use super::exact::{MAX_KEYS, window_number};
use super::{LinkError, TooManyKeys};
use crate::engine::LeaseShape;
use crate::store::lease::{Answer, Ask, Terms};
use crate::units::{Nanos, Timestamp};

/// Asks about counters in one request to one node.
#[derive(Clone, Debug, Default)]
pub struct LeaseBatch {
    /// The script uses this time in place of the engine's: in tests.
    injected: Option<Timestamp>,
    keys: Vec<String>,
    arguments: Vec<i64>,
}

/// The answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseReply {
    /// The time at which they were made, by the engine's clock.
    pub now: Timestamp,
    /// One for each ask, in order. `None`: the key has a value that is not ours, and nothing is known of the counter.
    pub answers: Vec<Option<Answer>>,
}

impl LeaseBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch that is answered at `clock`, to compare traces.
    pub fn at(clock: Timestamp) -> Self {
        Self { injected: Some(clock), ..Self::default() }
    }

    /// Adds what the counter with this [name](super::SharedKey) asks.
    ///
    /// # Errors
    /// The batch is full.
    pub fn add(&mut self, name: &str, terms: &Terms, ask: &Ask) -> Result<(), TooManyKeys> {
        if self.keys.len() >= MAX_KEYS {
            return Err(TooManyKeys);
        }
        self.keys.push(match terms.shape() {
            LeaseShape::ClockWindow => format!("{name}:{}", window_number(&terms.limit(), ask.window)),
            _ => name.to_owned(),
        });
        self.arguments.extend(fields(terms, ask).map(|number| i64::try_from(number).unwrap_or(i64::MAX)));
        Ok(())
    }

    /// The number of keys.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was added.
    pub const fn is_empty(&self) -> bool {
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
    pub fn read(&self, reply: &Value) -> Result<LeaseReply, LinkError> {
        LeaseReply::read(reply, self.keys.len()).ok_or(LinkError::Malformed)
    }

    fn with_arguments(&self, mut command: Cmd, script: &str) -> Cmd {
        let now = self.injected.map_or(0, Timestamp::as_us);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(now).arg(&self.arguments);
        command
    }
}

impl LeaseReply {
    fn read(reply: &Value, asks: usize) -> Option<Self> {
        let Value::Array(values) = reply else { return None };
        let number = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
        let numbers: Option<Vec<i64>> = values.iter().map(number).collect();
        let numbers = numbers?;
        let (now, lines) = numbers.split_first()?;
        let (lines, []) = lines.as_chunks::<7>() else { return None };
        if lines.len() != asks {
            return None;
        }
        let answers: Option<Vec<_>> = lines.iter().map(answer).collect();
        Some(Self { now: Timestamp::from_ns(u64::try_from(*now).ok()?.saturating_mul(1_000)), answers: answers? })
    }
}

/// The answer in one line of a reply; `None` of `None`: the line cannot be read.
#[allow(clippy::option_option, reason = "a line that cannot be read is another thing than a counter that is not ours")]
fn answer(line: &[i64; 7]) -> Option<Option<Answer>> {
    let [status, at_once, lease, left, lasts, window, wait] = *line;
    if status != 0 {
        return Some(None);
    }
    let whole = |number: i64| u64::try_from(number).ok();
    let time = |number: i64| Some(Nanos::from_ns(whole(number)?.saturating_mul(1_000)));
    let (at_once, lease, window) = (whole(at_once)?, whole(lease)?, whole(window)?);
    Some(Some(Answer { at_once, lease, left, lasts: time(lasts)?, window, wait: time(wait)? }))
}

/// The fields of the script.
fn fields(terms: &Terms, ask: &Ask) -> [u64; 16] {
    let shape = match terms.shape() {
        LeaseShape::ClockWindow => 1,
        LeaseShape::FirstRequestWindow => 2,
        LeaseShape::SlidingWindow => 3,
        LeaseShape::Bucket => 4,
    };
    let horizon = if terms.shape() == LeaseShape::Bucket { terms.bucket_horizon_us() } else { 0 };
    [
        shape,
        terms.limit().max.into(),
        terms.window_us(),
        terms.burst(),
        horizon,
        terms.replicas().into(),
        ask.window,
        ask.waiting,
        ask.least,
        ask.rate_millis,
        ask.last,
        ask.returned,
        ask.reported,
        ask.kept,
        ask.refunded,
        ask.charged,
    ]
}

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SCRIPT_TEXT));
const SCRIPT_TEXT: &str = concat!(include_str!("scripts/values.lua"), include_str!("scripts/lease.lua"));
