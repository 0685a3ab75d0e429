//! The limits of a run: every algorithm, leased and exact, with each answer of a replica that does not reach the engine.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt as _, SeedableRng};

/// What decides without the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WhenDown {
    Deny,
    Local,
    Allow,
}

impl WhenDown {
    pub(super) const ALL: [Self; 3] = [Self::Deny, Self::Local, Self::Allow];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Local => "local",
            Self::Allow => "allow",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Limit {
    pub(super) key: String,
    pub(super) mode: &'static str,
    pub(super) when_down: WhenDown,
    /// Its windows end while the run lasts. Of the others there are new counters all the time.
    pub(super) is_short: bool,
    pub(super) max: u32,
    rule: &'static str,
}

pub(super) fn all() -> Vec<Limit> {
    let mut limits = Vec::new();
    for when_down in WhenDown::ALL {
        for mode in ["leased", "exact"] {
            for (name, rule) in RULES {
                let is_short = rule.contains("period");
                let max = if rule.contains("token_bucket") { BUCKET } else { MAX };
                if mode == "exact" || !ONLY_EXACT.contains(&name) {
                    let key = format!("{mode}_{name}_{}", when_down.name());
                    limits.push(Limit { key, mode, when_down, is_short, max, rule });
                }
            }
        }
    }
    limits
}

/// The rules, with limits divided by that.
pub(super) fn rules(limits: &[Limit], divisor: u32) -> String {
    let rule = |limit: &Limit| {
        let (max, sharing) = (limit.max / divisor, limit.mode);
        let (rule, when_down) = (limit.rule, limit.when_down.name());
        format!(
            "- {{key: {}, rate_limit: {{{rule}, requests_per_unit: {max}, sharing: {{mode: {sharing}, when_down: {when_down}}}}}}}\n",
            limit.key
        )
    };
    format!("domain: api\ndescriptors:\n{}", limits.iter().map(rule).collect::<String>())
}

/// The limits that are checked in one part of a run, so that each is used up.
pub(super) fn of_epoch(limits: &[Limit], seed: u64, epoch: u32) -> Vec<usize> {
    let mut places: Vec<usize> = (0..limits.len()).collect();
    places.shuffle(&mut SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003) ^ u64::from(epoch)));
    // Half of them are of those that are never above their limits.
    let of = |denies: bool| {
        places.iter().copied().filter(move |place| (limits[*place].when_down == WhenDown::Deny) == denies)
    };
    of(true).take(AT_ONCE / 2).chain(of(false).take(AT_ONCE / 2)).collect()
}

/// One of them; larger limits come more often.
pub(super) fn pick(limits: &[Limit], places: &[usize], random: &mut SmallRng) -> usize {
    let weight = |place: &usize| limits[*place].max;
    let mut at = random.random_range(0..places.iter().map(weight).sum());
    for place in places {
        if at < weight(place) {
            return *place;
        }
        at -= weight(place);
    }
    unreachable!("the weights are those of these places")
}

const RULES: [(&str, &str); 7] = [
    ("window", "unit: year"),
    ("first", "unit: year, starts: first_request"),
    ("sliding", "unit: year, algorithm: sliding_window"),
    ("bucket", "unit: year, algorithm: token_bucket"),
    ("short", "period: 2s"),
    ("log", "unit: year, algorithm: sliding_log"),
    ("ban", "unit: year, ban: 30d"),
];
const ONLY_EXACT: [&str; 2] = ["log", "ban"];
const MAX: u32 = 60;
/// A bucket is leased from 100 for each of three replicas on.
const BUCKET: u32 = 300;
/// Limits that are checked at the same time.
const AT_ONCE: usize = 6;
/// The length of windows that end while the run lasts.
pub(super) const SHORT_MS: i64 = 2_000;
