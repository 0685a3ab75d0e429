//! A model of what the engine does with requests for leases: `lease.lua` in Rust, for simulations, and to compare the script with.

mod bucket;

use std::collections::BTreeMap;

use super::size;
use super::{Answer, Ask, Terms};
use crate::engine::LeaseShape;
use crate::units::{Nanos, Timestamp};
use bucket::Bucket;

/// The state of one counter on the engine.
///
/// The sum of what is granted less what goes back never exceeds the limit (for a bucket: what it holds and what is lent never
/// exceed the burst), and each answer is one step. Hits are admitted only by spending what was granted, so no interleaving,
/// crash, late or lost answer lets more pass.
#[derive(Clone, Debug, Default)]
pub struct Central {
    /// Clock windows by their end, in microseconds; the other shapes have one value.
    values: BTreeMap<u64, Value>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    /// Granted hits, and the instant after which the value is gone.
    Count {
        granted: u64,
    },
    Window {
        end: u64,
        granted: u64,
    },
    Sliding {
        begin: u64,
        previous: u64,
        current: u64,
    },
    Bucket(Bucket),
}

impl Central {
    /// A counter that has never been used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a request at `now`, by the engine's clock. Parts of a microsecond are dropped.
    pub fn answer(&mut self, terms: &Terms, ask: &Ask, now: Timestamp) -> Answer {
        let now = now.as_us();
        match terms.shape {
            LeaseShape::ClockWindow => self.clock_window(terms, ask, now),
            LeaseShape::FirstRequestWindow => self.first_request_window(terms, ask, now),
            LeaseShape::SlidingWindow => self.sliding_window(terms, ask, now),
            // Nothing is ever granted, and nothing regained.
            LeaseShape::Bucket if terms.max == 0 => Answer::default(),
            LeaseShape::Bucket => {
                let mut bucket = match self.values.get(&0) {
                    Some(Value::Bucket(bucket)) => *bucket,
                    _ => Bucket::full(terms, now),
                };
                let (answer, is_changed) = bucket.answer(terms, ask, now);
                if is_changed {
                    self.values.insert(0, Value::Bucket(bucket));
                }
                answer
            }
        }
    }

    fn clock_window(&mut self, terms: &Terms, ask: &Ask, now: u64) -> Answer {
        let end = ask.window;
        self.values.retain(|key, _| key.saturating_add(KEPT_US) > now);
        if now >= end.saturating_add(LATE_US) {
            // Its value may be gone, so nothing is known of it.
            return Answer { window: end, ..Answer::default() };
        }
        let known = match self.values.get(&end) {
            Some(Value::Count { granted }) => *granted,
            _ => 0,
        };
        let left = end.saturating_sub(now).min(terms.window_us());
        let granted = known.saturating_sub(ask.returned).saturating_add(ask.charged);
        let (answer, after) = grant(terms, ask, granted, terms.max.into(), left);
        if after != known {
            self.values.insert(end, Value::Count { granted: after });
        }
        Answer { window: end, wait: micros(left), ..answer }
    }

    fn first_request_window(&mut self, terms: &Terms, ask: &Ask, now: u64) -> Answer {
        let known = match self.values.get(&0) {
            Some(Value::Window { end, granted }) if *end > now => Some((*end, *granted)),
            _ => None,
        };
        // What was charged in a window that has ended does not begin another one.
        let is_its_window = ask.window == 0 || known.is_some_and(|(end, _)| end == ask.window);
        let charged = if is_its_window { ask.charged } else { 0 };
        if known.is_none() && ask.waiting == 0 && charged == 0 {
            return Answer { left: terms.max.into(), ..Answer::default() };
        }
        let (end, before) = known.unwrap_or((now.saturating_add(terms.window_us()), 0));
        let returned = if ask.window == end { ask.returned } else { 0 };
        let granted = before.saturating_sub(returned).saturating_add(charged);
        let left = end - now;
        let (answer, after) = grant(terms, ask, granted, terms.max.into(), left);
        if after != before {
            self.values.insert(0, Value::Window { end, granted: after });
        }
        // A window begins with the first hit that is granted.
        let window = if after == before && known.is_none() { 0 } else { end };
        Answer { window, wait: micros(left), ..answer }
    }

    fn sliding_window(&mut self, terms: &Terms, ask: &Ask, now: u64) -> Answer {
        let length = terms.window_us();
        let stored = match self.values.get(&0) {
            Some(Value::Sliding { begin, previous, current }) if *begin + 2 * length > now => {
                Some((*begin, *previous, *current))
            }
            _ => None,
        };
        let mut elapsed = now % length;
        let mut begin = now - elapsed;
        let (mut previous, mut current) = (0, 0);
        if let Some((known, before, latest)) = stored {
            if now < known {
                // The clock has stepped back.
                (begin, previous, current, elapsed) = (known, before, latest, 0);
            } else if known == begin {
                (previous, current) = (before, latest);
            } else {
                previous = latest;
            }
        }
        let read = (previous, current);
        if ask.window == begin {
            current = current.saturating_sub(ask.returned);
        } else if ask.window + length == begin {
            previous = previous.saturating_sub(ask.returned);
        }
        current = current.saturating_add(ask.charged);
        let weighed = muldiv_ceil(previous, length - elapsed, length);
        let left = length - elapsed;
        let (answer, used) = grant(terms, ask, weighed.saturating_add(current), terms.max.into(), left);
        current = (used - weighed).min(MOST_SLIDING);
        if (previous, current) != read {
            self.values.insert(0, Value::Sliding { begin, previous, current });
        }
        let wait = sliding_wait(terms, previous, current, elapsed);
        Answer { window: begin, wait: micros(wait), ..answer }
    }
}

/// Grants to a window in which `used` of `max` hits are used; returns how many are used afterwards.
fn grant(terms: &Terms, ask: &Ask, used: u64, max: u64, left_us: u64) -> (Answer, u64) {
    let room = max.saturating_sub(used);
    let at_once = if room >= ask.least { room.min(ask.waiting) } else { 0 };
    let lease = if at_once < ask.waiting { 0 } else { size::of_window(terms, ask, room, left_us) };
    let used = used.saturating_add(at_once + lease).min(MOST);
    (Answer { at_once, lease, left: signed(max) - signed(used), lasts: micros(left_us), ..Answer::default() }, used)
}

/// The time until a sliding window has room for one hit, if it has none now.
fn sliding_wait(terms: &Terms, previous: u64, current: u64, elapsed: u64) -> u64 {
    let (max, length) = (u64::from(terms.max), terms.window_us());
    if current < max {
        return decayed(previous, max - 1 - current, length).saturating_sub(elapsed);
    }
    if max == 0 {
        return 2 * length - elapsed;
    }
    length - elapsed + decayed(current, max - 1, length)
}

/// The time into the next window after which `count` hits of a window weigh at most `room`.
fn decayed(count: u64, room: u64, length: u64) -> u64 {
    if count <= room {
        return 0;
    }
    length - muldiv(room, length, count).0.min(length)
}

/// The quotient and the remainder of `a * b / c`.
fn muldiv(a: u64, b: u64, c: u64) -> (u64, u64) {
    let (product, c) = (u128::from(a) * u128::from(b), u128::from(c.max(1)));
    let whole = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
    (whole(product / c), whole(product % c))
}

fn muldiv_ceil(a: u64, b: u64, c: u64) -> u64 {
    let (whole, rest) = muldiv(a, b, c);
    whole.saturating_add(u64::from(rest > 0))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn micros(us: u64) -> Nanos {
    Nanos::from_ns(us.saturating_mul(1_000))
}

/// How long after its end a window is still charged: a little less than its value is kept.
const LATE_US: u64 = 900_000;
/// The largest count: whole numbers of scripts are exact up to 2^53.
const MOST: u64 = (1 << 53) - 1;
/// The largest count of a sliding window, whose counts are two halves of one number.
const MOST_SLIDING: u64 = u32::MAX as u64 - 1;
/// How long the engine keeps the value of a window after its end.
const KEPT_US: u64 = 1_000_000;
