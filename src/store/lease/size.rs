//! The size of a lease: what is granted besides the hits that wait.
//!
//! `lease.lua` has the same arithmetic, in the same order and with the same 64-bit floating point numbers, so that both agree to
//! the last hit.

use super::Ask;
use super::terms::{LONGEST, SHORTEST, Terms};

/// Hits of a window to be lent, when `room` are left for another `left_us`.
pub(super) fn of_window(terms: &Terms, ask: &Ask, room: u64, left_us: u64) -> u64 {
    let want = wanted_of_window(terms, ask, room, left_us);
    let (room, left, rate) = (number(room), number(left_us) / 1e6, number(ask.rate_millis) / 1e3);
    let cap = (room / (2.0 * number(terms.replicas.into()))).max((rate * left / 10.0).min(room / 4.0));
    beyond_waiting(want.min(cap), ask.waiting, room)
}

/// Hits of a window that the replica has use for.
pub(super) fn wanted_of_window(terms: &Terms, ask: &Ask, room: u64, left_us: u64) -> f64 {
    let (max, window_us) = (number(terms.max.into()), number(terms.window_us()));
    let (left, rate) = (number(left_us) / 1e6, number(ask.rate_millis) / 1e3);
    let longest = number(LONGEST.as_ns()) / 1e9;
    let shortest = number(SHORTEST.as_ns()) / 1e9;
    let horizon = if number(room) * 2.0 >= max { longest } else { (window_us / 8e6).max(shortest).min(longest) };
    (rate * horizon.min(left)).min(2.0 * number(ask.last))
}

/// Tokens of a bucket to be lent, when `room` are left once those that wait are charged.
pub(super) fn of_bucket(terms: &Terms, ask: &Ask, room: u64) -> u64 {
    let want = wanted_of_bucket(terms, ask).min(number(room) / 2.0);
    beyond_waiting(want, 0, number(room))
}

/// Tokens of a bucket that the replica has use for.
pub(super) fn wanted_of_bucket(terms: &Terms, ask: &Ask) -> f64 {
    let horizon = number(terms.bucket_horizon_us()) / 1e6;
    (number(ask.rate_millis) / 1e3 * horizon).min(2.0 * number(ask.last))
}

/// A lease of fewer than two hits is none: the counter is slow, and counted hit by hit.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is not negative, and below 2^53.
fn beyond_waiting(size: f64, waiting: u64, room: f64) -> u64 {
    if size < LEAST_LEASE {
        return 0;
    }
    let waiting = number(waiting);
    (size.floor() - waiting).min(room - waiting).max(0.0) as u64
}

/// Exact: counts and times are below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

/// Hits per horizon from which on a counter is busy.
pub(super) const LEAST_LEASE: f64 = 2.0;
