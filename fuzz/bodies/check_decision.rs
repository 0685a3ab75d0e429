//! Encoded requests at instants -> decisions: what must hold of every answer, whatever came before it.
//!
//! Input: one byte that chooses the rules, one of switches, then checks: a byte and an exponent that make the time
//! since the check before (see [`Step`]), the request's length in two bytes, the request.

use prost::Message;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::DescriptorStatus;
use tidegate::api::rls;
use tidegate::limiter::{Check, Code, Limiter, Settings, WorkerSlot};
use tidegate::rules::{LoadOptions, SourceFile, load};
use tidegate::service::{Batch, Call};
use tidegate::store::WhenFull;
use tidegate::units::{Nanos, Timestamp};

/// Rules to choose from: between them every algorithm, mode and way to charge.
struct Rules {
    text: &'static str,
    /// Some rule is in quota mode.
    quota: bool,
    /// Some rule is a token bucket: it may hold more than its limit, and be full when hits never fit.
    buckets: bool,
}

const RULES: [Rules; 5] = [
    Rules { text: include_str!("rule_sets/windows.yaml"), quota: false, buckets: false },
    Rules { text: include_str!("rule_sets/algorithms.yaml"), quota: false, buckets: true },
    Rules { text: include_str!("rule_sets/bans.yaml"), quota: false, buckets: true },
    Rules { text: include_str!("rule_sets/together.yaml"), quota: true, buckets: true },
    Rules { text: include_str!("rule_sets/modes.yaml"), quota: true, buckets: false },
];

/// Plays one input.
pub(crate) fn run(data: &[u8]) {
    let [choice, switches, rest @ ..] = data else { return };
    let rules = &RULES[usize::from(*choice) % RULES.len()];
    let switches = Switches(*switches);
    let mut scene =
        Scene { limiter: switches.limiter(rules), rules, switches, now: START, latest: START, overrides: false };
    let mut rest = rest;
    for _ in 0..MOST_CHECKS {
        let [mantissa, exponent, low, high, tail @ ..] = rest else { break };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (request, after) = tail.split_at(length);
        scene.pass(Step { mantissa: *mantissa, exponent: *exponent });
        scene.ask(request);
        rest = after;
    }
    scene.end();
}

/// What the limiter is made with, by bits.
#[derive(Clone, Copy)]
struct Switches(u8);

impl Switches {
    fn has(self, bit: u8) -> bool {
        self.0 & 1 << bit != 0
    }

    fn shadow(self) -> bool {
        self.has(0)
    }

    fn quota(self) -> bool {
        self.has(1)
    }

    fn budget_bytes(self) -> usize {
        if self.has(3) { 2_000 } else { 1 << 30 }
    }

    fn limiter(self, rules: &Rules) -> Limiter {
        let limiter = Limiter::new(Settings {
            shadow_mode: self.shadow(),
            quota_mode: self.quota(),
            dynamic_metadata: self.has(2),
            counter_budget_bytes: self.budget_bytes(),
            when_full: if self.has(4) { WhenFull::Allow } else { WhenFull::Deny },
            workers: 1,
            usage_series: 4,
            counts_usage: true,
            ..Settings::default()
        });
        let file = SourceFile { name: "rules".to_owned(), text: rules.text.into() };
        limiter.replace_rules(
            Timestamp::EPOCH,
            load(&[file], LoadOptions::default()).unwrap_or_else(|errors| panic!("{errors:?}")),
        );
        limiter
    }
}

/// The time from one check to the next: `mantissa` shifted left by the lower six bits of `exponent`, at most a year.
#[derive(Clone, Copy)]
struct Step {
    mantissa: u8,
    exponent: u8,
}

impl Step {
    fn length(self) -> Nanos {
        Nanos::from_ns(u64::from(self.mantissa) << (self.exponent & 0x3f).min(47))
    }

    /// The clock stepped back.
    fn is_back(self) -> bool {
        self.exponent & 0x80 != 0
    }

    /// The sweep comes by.
    fn is_swept(self) -> bool {
        self.exponent & 0x40 != 0
    }
}

/// A limiter, and when it is.
struct Scene<'r> {
    limiter: Limiter,
    rules: &'r Rules,
    switches: Switches,
    now: Timestamp,
    /// The latest instant so far.
    latest: Timestamp,
    /// Some check brought its own limit along, whose window may be as long as it likes.
    overrides: bool,
}

impl Scene<'_> {
    fn pass(&mut self, step: Step) {
        self.now = if step.is_back() { self.now.minus(step.length()) } else { self.now.plus(step.length()) };
        self.latest = self.latest.max(self.now);
        if step.is_swept() {
            self.limiter.store().sweep_all(self.now);
        }
    }

    fn ask(&mut self, request: &[u8]) {
        let asked = rls::read(request);
        match (asked, Batch::new(&self.limiter, WorkerSlot(0), self.now).decide(Call::default(), request)) {
            (Ok(check), Ok(answer)) => {
                let reported =
                    RateLimitResponse::decode(answer.frame.message()).expect("an answer is a RateLimitResponse");
                assert_eq!(answer.code == Code::OverLimit, reported.overall_code == OVER_LIMIT);
                assert!(answer.code == Code::Ok || answer.delay.is_zero(), "what is denied waits for nothing");
                self.overrides |= check.descriptors.iter().any(|descriptor| descriptor.limit.is_some());
                self.compare(&check, &reported);
                self.weigh(&check, request);
            }
            (Err(read), Err(answered)) => {
                assert_eq!(read, answered);
                assert_ne!(answered.status().code(), tonic::Code::Ok);
            }
            (asked, answer) => panic!("{asked:?} was answered with {answer:?}"),
        }
    }

    fn compare(&self, check: &Check<'_>, reported: &RateLimitResponse) {
        assert_eq!(reported.statuses.len(), check.descriptors.len(), "a status for each descriptor");
        let over = reported.statuses.iter().filter(|status| status.code == OVER_LIMIT).count();
        let want = match reported.overall_code {
            OK if self.switches.shadow() => true,
            OK if self.switches.quota() => over < reported.statuses.len(),
            OK => over == 0 || self.rules.quota,
            OVER_LIMIT if self.switches.shadow() => false,
            OVER_LIMIT if self.switches.quota() => over == reported.statuses.len(),
            OVER_LIMIT => over > 0,
            _ => false,
        };
        assert!(want, "{over} descriptors over in {reported:?}");
        for status in &reported.statuses {
            self.compare_status(status);
        }
    }

    fn compare_status(&self, status: &DescriptorStatus) {
        assert!([OK, OVER_LIMIT].contains(&status.code), "{status:?}");
        let Some(limit) = &status.current_limit else {
            assert_eq!(status.code, OK, "nothing limits it: {status:?}");
            assert!([0, u32::MAX].contains(&status.limit_remaining), "{status:?}");
            assert!(status.duration_until_reset.is_none(), "{status:?}");
            return;
        };
        let most =
            if self.rules.buckets { limit.requests_per_unit.max(LARGEST_BURST) } else { limit.requests_per_unit };
        assert!(status.limit_remaining <= most, "{status:?}");
        let reset = status.duration_until_reset.expect("a limit has a reset");
        assert!(reset.seconds >= 0 && reset.nanos == 0, "{status:?}");
        assert!(status.code == OK || self.rules.buckets || reset.seconds > 0, "retry at once: {status:?}");
    }

    /// Memory: as many counters as were asked for at most, and the budget but for what one check may bring.
    fn weigh(&self, check: &Check<'_>, request: &[u8]) {
        let occupancy = self.limiter.store().occupancy();
        let one_check = check.descriptors.len() * MOST_LIMITS * BYTES_OF_ONE + 2 * request.len();
        let logs_grown = occupancy.counters * BYTES_OF_ONE;
        let most = occupancy.budget_bytes.saturating_add(one_check + logs_grown);
        assert!(occupancy.bytes <= most, "{occupancy:?} after {} descriptors", check.descriptors.len());
    }

    /// In the end every counter is spent, and its memory given back.
    fn end(self) {
        let store = self.limiter.store();
        store.sweep_all(self.latest.plus(LONGEST_MEMORY));
        if !self.overrides {
            let occupancy = store.occupancy();
            assert_eq!(occupancy.counters, 0, "{occupancy:?}");
        }
    }
}

const OK: i32 = 1;
const OVER_LIMIT: i32 = 2;
/// An instant in no special place of any window.
const START: Timestamp = Timestamp::from_ns(1_700_000_123_456_789_012);
/// The longest that a counter of these rules remembers: two windows of a day, or a ban.
const LONGEST_MEMORY: Nanos = Nanos::from_secs(10 * 86_400);
/// Checks of one input: enough to reach every limit here, and to be quick.
const MOST_CHECKS: usize = 64;
/// Limits of one rule.
const MOST_LIMITS: usize = 3;
/// The largest bucket of the rules.
const LARGEST_BURST: u32 = 8;
/// What a counter takes at most beside a long name: the first slots of its shard, and a log of ten hits.
const BYTES_OF_ONE: usize = 1_024;
