//! Limits from single requests: what the engine of the service decides with each number.

use super::search::{SHARES, boundary};
use super::{CounterRequests, largest, with_max};
use crate::engine::{Algorithm, Cell, Limit, Log, Op, Queue, QueueMode, log, step};

/// The requests that `limit` denies; counting stops above `most`.
///
/// Cost: some nanoseconds for each request; for a `sliding_log` the memory of one counter.
pub fn denied(limit: &Limit, counters: &[CounterRequests], most: u64) -> u64 {
    let mut denied = 0;
    for counter in counters {
        let (mut cell, mut kept) = (Cell::FRESH, Log::FRESH);
        for request in &counter.requests {
            let limit = within_timeout(limit, request.timeout);
            let outcome = if limit.algorithm == Algorithm::SlidingLog {
                log::step(&limit, &mut kept, request.at, request.op, true)
            } else {
                let (outcome, next) = step(&limit, cell, request.at, request.op);
                cell = next;
                outcome
            };
            denied += u64::from(!outcome.admitted());
            if denied > most {
                return denied;
            }
        }
    }
    denied
}

/// For each of [`SHARES`], a number with which at most that share of the requests is denied, while one less denies more; `None` if
/// no number does.
///
/// Cost: as that of [`denied`], about a hundred times.
pub fn from_requests(limit: &Limit, counters: &[CounterRequests], requests: u64) -> [Option<u32>; 3] {
    let most = largest(limit).min(enough(counters));
    SHARES.map(|share| {
        let allowed = share.of(requests);
        let found = boundary(allowed, most, |max| denied(&with_max(limit, max), counters, allowed));
        // A bucket with a size of its own may need a rate that is higher than what a window has.
        found.or_else(|| boundary(allowed, largest(limit), |max| denied(&with_max(limit, max), counters, allowed)))
    })
}

/// All hits of the counter with the most of them, and one more for a ban that begins when the limit is reached.
fn enough(counters: &[CounterRequests]) -> u32 {
    let hits = |counter: &CounterRequests| {
        let charged = counter.requests.iter().map(|request| match request.op {
            Op::Charge(hits) => hits,
            Op::Refund(_) => 0,
        });
        charged.fold(0_u64, u64::saturating_add)
    };
    let most = counters.iter().map(hits).max().unwrap_or(0);
    u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1)
}

/// A queue in which nobody waits longer than the caller does.
fn within_timeout(limit: &Limit, timeout: Option<crate::units::Nanos>) -> Limit {
    match (limit.algorithm, timeout) {
        (Algorithm::TokenBucket { burst, queue: Queue { size: size @ 1.., mode: QueueMode::Hold } }, Some(timeout)) => {
            let queue = Queue { size, mode: QueueMode::HoldAtMost(timeout) };
            Limit { algorithm: Algorithm::TokenBucket { burst, queue }, ..*limit }
        }
        _ => *limit,
    }
}
