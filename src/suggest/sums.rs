//! Limits from sums per minute, hour or day: such a sum does not say when in its bucket the hits came, so there is a least and a
//! most number of requests that a limit would have denied, and with it a least and a most number for the limit.
//!
//! **The most.** Be a request in bucket `b` denied. Then the hits that the limit still counts at this instant are its number, and
//! they are all in a run of buckets that ends with `b` and is as long as what the algorithm looks back on. So the demand of that
//! run is at least the number plus all that was denied in the run, which bounds what can have been denied in `b`.
//!
//! **The least.** In a span of buckets an algorithm admits at most the number for each window that touches the span. What is
//! above that was denied. Spans that do not overlap add up.
//!
//! Fixed windows that are whole buckets have no such uncertainty: then both are the same. The proof assumes requests of one hit;
//! for others, a bucket counts as denied once for the least, and with all of its requests for the most.

use super::report::Suggested;
use super::search::{SHARES, boundary};
use super::{largest, with_max};
use crate::calendar::Calendar;
use crate::engine::{Algorithm, BanWhen, CountDenied, Limit, Starts};
use crate::units::Nanos;

/// What one counter used in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The number of the bucket since the epoch.
    pub bucket: u64,
    /// Requests.
    pub requests: u64,
    /// Hits that they asked for, whether or not they were admitted.
    pub hits: u64,
}

/// The sums of one counter, by bucket; buckets without any are left out.
#[derive(Clone, Debug, Default)]
pub struct CounterSums {
    /// Its entries.
    pub entries: Vec<(String, String)>,
    /// In the order of time, each bucket once.
    pub sums: Vec<Sum>,
}

/// What is known of the counters of one rule.
#[derive(Clone, Debug, Default)]
pub struct SumsOf {
    /// The length of a bucket, in nanoseconds.
    pub bucket_ns: u64,
    /// The counters that are tracked individually.
    pub counters: Vec<CounterSums>,
    /// Hits were refunded: how much of them to whom is not known.
    pub refunds: bool,
}

/// How an algorithm relates to the buckets.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// Buckets that a denied request's counted hits can be in, its own included.
    run: u64,
    /// The run begins at a multiple of this number of buckets; 0: it begins anywhere.
    run_aligned: u64,
    /// Buckets of a span.
    span: u64,
    /// Windows that touch a span.
    windows: u64,
}

/// The least and the most requests that a limit may have denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Denials {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl SumsOf {
    /// All requests of these counters.
    pub fn requests(&self) -> u64 {
        self.counters.iter().flat_map(|counter| &counter.sums).map(|sum| sum.requests).sum()
    }

    fn are_of_one_hit(&self) -> bool {
        self.counters.iter().flat_map(|counter| &counter.sums).all(|sum| sum.hits == sum.requests)
    }

    /// The most hits of all buckets of the busiest counter: more than any limit needs.
    fn enough(&self) -> u32 {
        let hits = |counter: &CounterSums| counter.sums.iter().map(|sum| sum.hits).fold(0, u64::saturating_add);
        let most = self.counters.iter().map(hits).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// For each of [`SHARES`]: below `least` more than the share is certainly denied, from `most` on certainly not; `None` if no
/// number is certain to.
///
/// Cost: about 200 passes over the sums.
pub fn from_sums(limit: &Limit, of: &SumsOf) -> [Option<Suggested>; 3] {
    let (requests, of_one_hit) = (of.requests(), of.are_of_one_hit());
    let denials = |max: u32| denials(&with_max(limit, max), of, of_one_hit);
    let enough = largest(limit).min(of.enough());
    SHARES.map(|share| {
        let allowed = share.of(requests);
        let find = |count: fn(Denials) -> u64| {
            let found = boundary(allowed, enough, |max| count(denials(max)));
            found.or_else(|| boundary(allowed, largest(limit), |max| count(denials(max))))
        };
        let most = find(|denials| denials.most)?;
        let least = find(|denials| denials.least).unwrap_or(most).min(most);
        Some(Suggested { least, most })
    })
}

/// What `limit` denied of these sums, at least and at most.
pub(super) fn denials(limit: &Limit, of: &SumsOf, of_one_hit: bool) -> Denials {
    let reach = Reach::new(limit, of.bucket_ns);
    let mut all = Denials::default();
    for counter in &of.counters {
        let most = match limit.algorithm {
            Algorithm::TokenBucket { burst, .. } => most_of_bucket(limit, burst, of.bucket_ns, counter, of_one_hit),
            _ => most_of_windows(limit, reach, counter, of_one_hit),
        };
        // A ban denies what comes after it, too, which is all that may come.
        let requests: u64 = counter.sums.iter().map(|sum| sum.requests).sum();
        all.most += if limit.ban.is_some() && most > 0 { requests } else { most };
        // Refunds make room, and after a ban a counter begins again: both admit more.
        if !of.refunds && limit.ban.is_none() {
            all.least += least(limit, reach, of.bucket_ns, counter, of_one_hit);
        }
    }
    all
}

impl Reach {
    fn new(limit: &Limit, bucket_ns: u64) -> Self {
        let (window, bucket) = (limit.window.as_ns().max(1), bucket_ns.max(1));
        if let Some(calendar) = limit.calendar() {
            return Self::of_calendar(calendar, bucket);
        }
        let buckets = window.div_ceil(bucket);
        let (windows_are_buckets, buckets_are_windows) = (window.is_multiple_of(bucket), bucket.is_multiple_of(window));
        let nested = windows_are_buckets || buckets_are_windows;
        let within = (buckets * bucket).div_ceil(window);
        match limit.algorithm {
            Algorithm::FixedWindow { starts: Starts::Clock } if windows_are_buckets => {
                Self { run: buckets, run_aligned: buckets, span: buckets, windows: 1 }
            }
            Algorithm::FixedWindow { starts: Starts::Clock } if buckets_are_windows => {
                Self { run: 1, run_aligned: 0, span: 1, windows: within }
            }
            Algorithm::SlidingLog => Self { run: buckets + 1, run_aligned: 0, span: buckets, windows: within },
            // The window before the current one counts, too.
            Algorithm::SlidingWindow if nested => {
                Self { run: 2 * buckets, run_aligned: 0, span: buckets, windows: within }
            }
            Algorithm::SlidingWindow => {
                Self { run: (2 * window).div_ceil(bucket) + 1, run_aligned: 0, span: buckets, windows: within + 1 }
            }
            Algorithm::FixedWindow { .. } | Algorithm::TokenBucket { .. } => {
                Self { run: buckets + 1, run_aligned: 0, span: buckets, windows: within + 1 }
            }
        }
    }

    /// Windows of a calendar differ in length, and their edges may be within a bucket. A denied request looks back on one of the longest;
    /// a span of the usual length touches three at most, as one of 30 days does around February.
    fn of_calendar(calendar: &Calendar, bucket: u64) -> Self {
        let buckets = |window: Nanos| window.as_ns().div_ceil(bucket);
        let span = buckets(calendar.unit().usual_length());
        let windows = (span * bucket).div_ceil(calendar.unit().usual_length().as_ns()) + 2;
        Self { run: buckets(calendar.unit().longest()) + 1, run_aligned: 0, span, windows }
    }

    /// The first bucket of the run that ends with `bucket`.
    fn begin(self, bucket: u64) -> u64 {
        match self.run_aligned {
            0 => (bucket + 1).saturating_sub(self.run),
            aligned => bucket - bucket % aligned,
        }
    }
}

/// The most that any algorithm with windows can have denied.
fn most_of_windows(limit: &Limit, reach: Reach, counter: &CounterSums, of_one_hit: bool) -> u64 {
    let reached = limit.ban.is_some_and(|ban| ban.when == BanWhen::Reached);
    // A ban that begins when the limit is reached may begin one hit earlier.
    let max = u64::from(limit.max).saturating_sub(u64::from(reached));
    // In a window that slides, denied hits that count deny others for as long as they do.
    let slides = limit.algorithm == Algorithm::SlidingLog || limit.algorithm == Algorithm::SlidingWindow;
    let is_exact = of_one_hit && !(slides && limit.count_denied != CountDenied::Never);
    let mut first = 0;
    let (mut demand, mut denied_in_run, mut denied_in_all) = (0_u64, 0_u64, 0_u64);
    let mut denied: Vec<u64> = Vec::with_capacity(counter.sums.len());
    for sum in &counter.sums {
        demand = demand.saturating_add(sum.hits);
        while let Some(left) = counter.sums.get(first).filter(|left| left.bucket < reach.begin(sum.bucket)) {
            demand = demand.saturating_sub(left.hits);
            denied_in_run -= denied.get(first).copied().unwrap_or(0);
            first += 1;
        }
        let above = demand.saturating_sub(max);
        let here = match above {
            0 => 0,
            above if is_exact => sum.requests.min(above.saturating_sub(denied_in_run)),
            _ => sum.requests,
        };
        denied.push(here);
        denied_in_run += here;
        denied_in_all += here;
    }
    denied_in_all
}

/// The most that a token bucket can have denied: from the last instant at which it was full, it admits its size and what flows in.
///
/// The largest excess over the inflow is that of a queue (Lindley, "The theory of queues with a single server", 1952). All terms are
/// multiplied by the window, so that nothing is rounded.
fn most_of_bucket(limit: &Limit, burst: u32, bucket_ns: u64, counter: &CounterSums, of_one_hit: bool) -> u64 {
    let is_exact = of_one_hit && limit.count_denied == CountDenied::Never;
    let window = u128::from(limit.window.as_ns().max(1));
    let inflow = u128::from(limit.max) * u128::from(bucket_ns);
    // A limit of 0 denies everything, whatever the bucket.
    let burst = if limit.max == 0 { 0 } else { burst };
    let (mut excess, mut before, mut denied_in_all) = (0_u128, None::<u64>, 0_u64);
    for sum in &counter.sums {
        if let Some(before) = before {
            // What flowed in while nothing came, without the bucket before and this one.
            excess = excess.saturating_sub(inflow.saturating_mul(u128::from(sum.bucket - before - 1)));
        }
        let demand = u128::from(sum.hits) * window;
        let above = (excess + demand).saturating_sub(u128::from(burst) * window);
        let here = match u64::try_from(above.div_ceil(window)).unwrap_or(u64::MAX) {
            0 => 0,
            above if is_exact => sum.requests.min(above),
            _ => sum.requests,
        };
        denied_in_all += here;
        let admitted = if is_exact { demand.saturating_sub(u128::from(here) * window) } else { demand };
        excess = excess.saturating_sub(inflow) + admitted;
        before = Some(sum.bucket);
    }
    denied_in_all
}

/// The least that can have been denied: what no way of coming could have been admitted.
fn least(limit: &Limit, reach: Reach, bucket_ns: u64, counter: &CounterSums, of_one_hit: bool) -> u64 {
    let above = |demand: u64, most: u64| match demand.saturating_sub(most) {
        0 => 0,
        above if of_one_hit => above,
        _ => 1,
    };
    let admitted_in = |span_ns: u128| match limit.algorithm {
        _ if limit.max == 0 => 0,
        Algorithm::TokenBucket { burst, queue } => {
            let inflow = (u128::from(limit.max) * span_ns).div_ceil(u128::from(limit.window.as_ns().max(1)));
            u64::try_from(inflow).unwrap_or(u64::MAX).saturating_add(u64::from(burst) + u64::from(queue.size))
        }
        _ => u64::from(limit.max).saturating_mul(reach.windows),
    };
    let span = reach.span.max(1);
    let most = admitted_in(u128::from(span) * u128::from(bucket_ns));
    let of_spans = counter.sums.chunk_by(|one, other| one.bucket / span == other.bucket / span);
    let of_spans: u64 = of_spans.map(|sums| above(sums.iter().map(|sum| sum.hits).sum(), most)).sum();
    let (Some(first), Some(last)) = (counter.sums.first(), counter.sums.last()) else { return 0 };
    let is_bucket = matches!(limit.algorithm, Algorithm::TokenBucket { .. });
    let whole_ns = u128::from(last.bucket - first.bucket + 1) * u128::from(bucket_ns);
    let of_all = counter.sums.iter().map(|sum| sum.hits).fold(0, u64::saturating_add);
    if is_bucket { of_spans.max(above(of_all, admitted_in(whole_ns))) } else { of_spans }
}
