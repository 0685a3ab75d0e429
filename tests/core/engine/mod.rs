//! The engine against definitions: naive oracles, promised times, extremes.

mod extremes;
mod oracle;
mod promises;
mod rates;
mod refunds;

use proptest::prelude::*;
use tidegate::calendar::{Calendar, CalendarUnit, Weekday};
use tidegate::engine::{
    self, Algorithm, Ban, BanWhen, Cell, CountDenied, Limit, Log, Op, Outcome, Queue, QueueMode, Starts,
};
use tidegate::units::{Nanos, Timestamp};

/// A counter of any algorithm.
#[derive(Clone, Debug)]
enum Counter {
    Cell(Cell),
    Log(Log),
}

impl Counter {
    fn new(limit: &Limit) -> Self {
        match limit.algorithm {
            Algorithm::SlidingLog => Self::Log(Log::default()),
            _ => Self::Cell(Cell::FRESH),
        }
    }

    fn step(&mut self, limit: &Limit, now: Timestamp, op: Op) -> Outcome {
        match self {
            Self::Cell(cell) => {
                let (outcome, next) = engine::step(limit, *cell, now, op);
                *cell = next;
                outcome
            }
            Self::Log(log) => engine::log::step(limit, log, now, op, true),
        }
    }

    fn charge(&mut self, limit: &Limit, now: u64, hits: u64) -> Outcome {
        self.step(limit, Timestamp::from_ns(now), Op::Charge(hits))
    }
}

fn limit(max: u32, window_ns: u64, algorithm: Algorithm) -> Limit {
    let count_denied = if algorithm == CLOCK { CountDenied::Alone } else { CountDenied::Never };
    Limit { max, window: Nanos::from_ns(window_ns), algorithm, ban: None, count_denied }
}

fn bucket(burst: u32, queue: u32) -> Algorithm {
    Algorithm::TokenBucket { burst, queue: Queue { size: queue, mode: QueueMode::Hold } }
}

const CLOCK: Algorithm = Algorithm::FixedWindow { starts: Starts::Clock };
const FIRST: Algorithm = Algorithm::FixedWindow { starts: Starts::FirstRequest };
const SECOND: u64 = 1_000_000_000;

/// Any algorithm, small enough that a random script reaches its limits.
fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        Just(CLOCK),
        Just(FIRST),
        Just(CalendarUnit::Day).prop_map(berlin),
        Just(CalendarUnit::Month).prop_map(berlin),
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::SlidingLog),
        (1_u32..12, 0_u32..6).prop_map(|(burst, queue)| bucket(burst, queue)),
    ]
}

fn berlin(unit: CalendarUnit) -> Algorithm {
    let calendar = Calendar::of(unit, "Europe/Berlin", Weekday::Monday).unwrap();
    Algorithm::FixedWindow { starts: Starts::Calendar(calendar) }
}

fn any_ban(window: u64) -> impl Strategy<Value = Option<Ban>> {
    let length = 1..=window * 3;
    let ban = (length, prop_oneof![Just(BanWhen::Reached), Just(BanWhen::Exceeded)]);
    prop_oneof![3 => Just(None), 1 => ban.prop_map(|(ns, when)| Some(Ban { length: Nanos::from_ns(ns), when }))]
}

fn any_count_denied() -> impl Strategy<Value = CountDenied> {
    prop_oneof![Just(CountDenied::Never), Just(CountDenied::Alone), Just(CountDenied::Always)]
}

/// Any limit: a window of few or of many nanoseconds, with or without ban and counted denials.
fn any_limit() -> impl Strategy<Value = Limit> {
    let window = prop_oneof![1_u64..20, Just(7 * SECOND), 1_u64..10_000_000_000];
    (window, any_algorithm(), 0_u32..12, any_count_denied()).prop_flat_map(
        |(window_ns, algorithm, max, count_denied)| {
            any_ban(window_ns).prop_map(move |ban| {
                let ban = match (algorithm, ban) {
                    // The one form that a bucket takes.
                    (Algorithm::TokenBucket { .. }, Some(ban)) => Some(Ban { when: BanWhen::Exceeded, ..ban }),
                    (_, ban) => ban,
                };
                let limit = Limit { max, window: Nanos::from_ns(window_ns), algorithm, ban, count_denied };
                let window = limit.calendar().map_or(limit.window, |calendar| calendar.unit().usual_length());
                Limit { window, ..limit }
            })
        },
    )
}

/// Steps in time, as parts of a window, and hits.
fn any_script() -> impl Strategy<Value = Vec<(u64, u64)>> {
    // Sixty-fourths of a window: often none, mostly small, sometimes several windows.
    let step = prop_oneof![3 => Just(0_u64), 6 => 1_u64..64, 1 => 64_u64..400];
    let hits = prop_oneof![6 => Just(1_u64), 3 => 0_u64..4, 1 => 0_u64..20];
    prop::collection::vec((step, hits), 1..120)
}

/// The instants of a script, one nanosecond off the even steps now and then.
fn instants(limit: &Limit, script: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut now = 1_700_000_000 * SECOND;
    script
        .iter()
        .map(|(step, hits)| {
            now += limit.window.as_ns() * step / 64 + u64::from(step % 5 == 1);
            (now, *hits)
        })
        .collect()
}
