//! A recorded corpus: 1,000 request frames, and what was answered to them, to the byte.
//!
//! The frames are made from a fixed seed, at instants of a virtual clock; `corpus/answers.txt` has a line for each: the
//! beginning of the SHA-256 of the answer and its delay, or the error. Behaviour that is to change changes lines of that
//! file: `UPDATE_CORPUS=1 cargo test --test core corpus` writes it again, and the difference says which answers are others.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::limiter::{Code, Limiter, Settings, WorkerSlot};
use tidegate::rules::{LoadOptions, SourceFile, load};
use tidegate::service::{Batch, Call};
use tidegate::units::{Nanos, Timestamp};

const FRAMES: u64 = 1_000;

/// Every algorithm, mode, way to charge and form of answer, one or two limits each, small enough to be reached.
const RULES: [&str; 3] = [
    "
domain: plain
descriptors:
- {key: a, rate_limit: {unit: minute, requests_per_unit: 5}}
- {key: a, value: v1, rate_limit: {unit: second, requests_per_unit: 2, name: named}}
- {key: b, value: 'x*', share_threshold: true, rate_limit: {unit: hour, requests_per_unit: 30}}
- {key: 'k*', rate_limit: {unit: day, requests_per_unit: 7}}
- {key: free, metadata: {tier: gold}, rate_limit: {unlimited: true, replaces: [{name: named}]}}
- {key: s, shadow_mode: true, metadata: {shadow: {deep: [1, two]}}, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: q, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 4}}
- key: deep
  rate_limit: {unit: week, requests_per_unit: 50}
  descriptors:
  - {key: er, rate_limit: {unit: month, requests_per_unit: 9}}",
    "
domain: ours
response: {headers: [x_ratelimit, draft_03, ietf, retry_after], body: json}
descriptors:
- {key: a, rate_limit: {period: 30s, requests_per_unit: 5, starts: first_request}}
- {key: b, rate_limit: {period: 10s, requests_per_unit: 6, algorithm: sliding_window}}
- {key: k1, rate_limit: {period: 10s, requests_per_unit: 6, algorithm: sliding_log}}
- {key: k2, rate_limit: {period: 1500ms, requests_per_unit: 3, algorithm: token_bucket, burst: 5}}
- {key: s, rate_limit: {unit: second, requests_per_unit: 2, algorithm: token_bucket, queue: 4}}
- {key: q, rate_limit: {unit: second, requests_per_unit: 2, algorithm: token_bucket, queue: {size: 4, mode: advise}}}
- {key: free, rate_limit: {period: 5s, requests_per_unit: 3, starts: first_request, ban: 8s}}
- {key: deep, rate_limits: [{unit: second, requests_per_unit: 3}, {unit: minute, requests_per_unit: 10, count_denied: true}]}",
    "
domain: joint
charge: all_or_nothing
response: {headers: [x_ratelimit, retry_after], reset: epoch, body: {content_type: text/plain, template: '{rule} {entry.a} {retry_after}'}}
descriptors:
- {key: a, rate_limit: {unit: minute, requests_per_unit: 8}}
- {key: b, rate_limit: {unit: minute, requests_per_unit: 20, algorithm: sliding_log}}
- {key: q, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 4}}
- {key: k1, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 5, algorithm: token_bucket}}
- {key: s, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 3}}
- {key: deep, rate_limit: {unit: minute, requests_per_unit: 9, count_denied: true}}",
];

const KEYS: [&str; 9] = ["a", "b", "k1", "k2", "free", "s", "q", "deep", "none"];
const VALUES: [&str; 6] = ["v1", "v2", "x1", "x2", "", "a,b=c\u{e9}"];

/// SplitMix64 (Steele, Lea, Flood 2014): the corpus must not change with a library.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn frame(&mut self) -> Vec<u8> {
        let domain = ["plain", "ours", "joint", "plain", "ours", "joint", "elsewhere", ""][self.below(8)];
        let count = [1, 1, 1, 2, 3, 4, 0][self.below(7)];
        let request = RateLimitRequest {
            domain: domain.to_owned(),
            descriptors: (0..count).map(|_| self.descriptor()).collect(),
            hits_addend: [0, 0, 0, 1, 2, 9][self.below(6)],
        };
        let mut bytes = request.encode_to_vec();
        // Now and then a frame that is cut, or has a byte that is another: it may be no request, or another one.
        let cut = self.one_in(25) && !bytes.is_empty();
        let change = !cut && self.one_in(25) && !bytes.is_empty();
        if !(cut || change) {
            return bytes;
        }
        let at = self.below(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = bytes[at].wrapping_add(1);
        }
        bytes
    }

    fn descriptor(&mut self) -> RateLimitDescriptor {
        let mut entries = vec![self.entry()];
        if entries[0].key == "deep" && self.one_in(2) {
            entries.push(Entry { key: "er".to_owned(), value: VALUES[self.below(VALUES.len())].to_owned() });
        }
        let limit = self.one_in(20).then(|| RateLimitOverride {
            requests_per_unit: [0, 3, 100][self.below(3)],
            unit: [0, 1, 2, 6][self.below(4)],
            unit_multiplier: [None, Some(30)][self.below(2)],
        });
        let hits_addend = [None, None, None, None, Some(0), Some(1), Some(3), Some(1 << 40)][self.below(8)];
        RateLimitDescriptor { entries, limit, hits_addend, is_negative_hits: self.one_in(25) }
    }

    fn entry(&mut self) -> Entry {
        let (key, value) = (KEYS[self.below(KEYS.len())], VALUES[self.below(VALUES.len())]);
        Entry { key: key.to_owned(), value: value.to_owned() }
    }
}

#[test]
fn a_thousand_frames_are_answered_as_recorded() {
    let files: Vec<_> = (1..)
        .zip(RULES)
        .map(|(nth, text)| SourceFile { name: format!("{nth}.yaml"), text: text.as_bytes().to_vec() })
        .collect();
    let limiter = Limiter::new(Settings { dynamic_metadata: true, ..Settings::default() });
    limiter.replace_rules(Timestamp::EPOCH, load(&files, LoadOptions::default()).unwrap());
    let mut random = Random(20_261_125);
    let mut now = Timestamp::from_ns(1_700_000_000_123_456_789);
    let (mut answers, mut codes) = (String::new(), [0_u64; 3]);
    for nth in 0..FRAMES {
        now = now.plus(Nanos::from_ns([0, 1, 7_000_000, 400_000_000, 3_000_000_000][random.below(5)]));
        let line = match Batch::new(&limiter, WorkerSlot(0), now).decide(Call::default(), &random.frame()) {
            Ok(answer) => {
                codes[usize::from(answer.code == Code::OverLimit)] += 1;
                let hash = Sha256::digest(answer.frame.message());
                let short = u64::from_be_bytes(*hash.first_chunk().unwrap());
                format!("{short:016x} {}", answer.delay.as_ns())
            }
            Err(error) => {
                codes[2] += 1;
                format!("{:?} {}", error.status().code(), error.status().message())
            }
        };
        writeln!(answers, "{nth} {line}").unwrap();
    }
    assert!(codes.iter().all(|count| *count > 50), "OK, OVER_LIMIT and errors: {codes:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/corpus/answers.txt");
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &answers).unwrap();
    }
    let recorded = fs::read_to_string(&path).unwrap();
    for (got, recorded) in answers.lines().zip(recorded.lines()) {
        assert_eq!(got, recorded, "another answer than recorded; the first of them");
    }
    assert_eq!(answers.lines().count(), recorded.lines().count());
}
