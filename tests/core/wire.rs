//! The hand-written reader and writer against the generated types.

use proptest::prelude::*;
use prost::Message;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tidegate::api::rls::{self, RequestError};
use tidegate::limiter::{Check, Code, CurrentLimit, Decision, Override, Status};
use tidegate::rules::{Period, Unit};
use tidegate::service::{Batch, Call};
use tidegate::units::{Nanos, Timestamp};

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/*_.]{0,6}", "\\PC{0,40}", Just("x".repeat(300))]
}

fn any_override() -> impl Strategy<Value = RateLimitOverride> {
    (any::<u32>(), 0_i32..9, prop::option::of(any::<u32>())).prop_map(|(requests_per_unit, unit, unit_multiplier)| {
        RateLimitOverride { requests_per_unit, unit, unit_multiplier }
    })
}

fn any_descriptor() -> impl Strategy<Value = RateLimitDescriptor> {
    let entry = (any_text(), any_text()).prop_map(|(key, value)| Entry { key, value });
    let entries = prop::collection::vec(entry, 0..6);
    (entries, prop::option::of(any_override()), prop::option::of(any::<u64>()), any::<bool>()).prop_map(
        |(entries, limit, hits_addend, is_negative_hits)| RateLimitDescriptor {
            entries,
            limit,
            hits_addend,
            is_negative_hits,
        },
    )
}

fn any_request() -> impl Strategy<Value = RateLimitRequest> {
    (any_text(), prop::collection::vec(any_descriptor(), 0..5), any::<u32>())
        .prop_map(|(domain, descriptors, hits_addend)| RateLimitRequest { domain, descriptors, hits_addend })
}

const UNITS: [Option<Unit>; 8] = [
    None,
    Some(Unit::Second),
    Some(Unit::Minute),
    Some(Unit::Hour),
    Some(Unit::Day),
    Some(Unit::Month),
    Some(Unit::Year),
    Some(Unit::Week),
];

fn wanted_override(limit: RateLimitOverride) -> Override {
    let unit = usize::try_from(limit.unit).ok().and_then(|unit| UNITS.get(unit).copied().flatten());
    let multiplier = limit.unit_multiplier.unwrap_or(1).max(1);
    Override {
        requests_per_unit: limit.requests_per_unit,
        period: unit.map(|unit| Period::from_units(unit, multiplier)),
    }
}

/// What is read says the same as the generated type.
fn compare(read: &Check<'_>, want: &RateLimitRequest) {
    assert_eq!(read.domain, want.domain);
    assert_eq!(read.hits_addend, want.hits_addend);
    assert_eq!(read.descriptors.len(), want.descriptors.len());
    for (read, want) in read.descriptors.iter().zip(&want.descriptors) {
        let entries: Vec<_> = read.entries.iter().map(|e| (e.key.as_ref(), e.value.as_ref())).collect();
        let wanted: Vec<_> = want.entries.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(entries, wanted);
        assert_eq!(read.hits, want.hits_addend);
        assert_eq!(read.refund, want.is_negative_hits);
        assert_eq!(read.limit, want.limit.map(wanted_override));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn requests_are_read_as_the_generated_type_reads_them(request in any_request()) {
        let bytes = request.encode_to_vec();
        match rls::read(&bytes) {
            Ok(check) => compare(&check, &request),
            Err(RequestError::EmptyDomain) => prop_assert!(request.domain.is_empty()),
            Err(RequestError::NoDescriptors) => prop_assert!(request.descriptors.is_empty()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// Broken messages: never a panic; what the generated type takes is taken, with the same meaning.
    #[test]
    fn broken_requests_are_read_as_the_generated_type_reads_them(
        request in any_request(), cut in any::<prop::sample::Index>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if bytes.len() > 1 && cut.index(3) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        match (rls::read(&bytes), RateLimitRequest::decode(bytes.as_slice())) {
            (Ok(check), Ok(want)) => compare(&check, &want),
            // The generated type wants UTF-8; we do not.
            (_, Err(_)) | (Err(RequestError::EmptyDomain | RequestError::NoDescriptors | RequestError::TooMany { .. }), Ok(_)) => {}
            (Err(error), Ok(want)) => prop_assert!(false, "{} for {:?}", error, want),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = rls::read(&bytes);
    }

    #[test]
    fn answers_are_read_by_the_generated_type(
        statuses in prop::collection::vec((any::<bool>(), any::<u32>(), 0_usize..8, any::<u32>(), any::<u64>(), any::<u64>(), any_text()), 0..6),
        over in any::<bool>(),
    ) {
        let code = |over| if over { Code::OverLimit } else { Code::Ok };
        let statuses_of = statuses.iter().map(|(over, requests_per_unit, unit, multiplier, remaining, reset, name)| Status {
            code: code(*over),
            limit: Some(CurrentLimit {
                requests_per_unit: *requests_per_unit, unit: UNITS[*unit], multiplier: *multiplier, length: Nanos::SECOND, name,
            }),
            remaining: *remaining,
            reset: Nanos::from_ns(*reset),
            ..Status::default()
        });
        let decision = Decision { code: code(over), statuses: statuses_of.collect(), ..Decision::default() };
        let answer = {
            let mut out = Vec::new();
            rls::write(&mut out, &decision, &rls::ResponseParts::default(), None);
            RateLimitResponse::decode(out.as_slice())
        }.unwrap();
        prop_assert_eq!(answer.overall_code, if over { 2 } else { 1 });
        prop_assert_eq!(answer.statuses.len(), statuses.len());
        for (status, (over, requests, unit, multiplier, remaining, reset, name)) in answer.statuses.iter().zip(&statuses) {
            let limit = status.current_limit.clone().unwrap();
            prop_assert_eq!(status.code, if *over { 2 } else { 1 });
            prop_assert_eq!(limit.requests_per_unit, *requests);
            prop_assert_eq!(UNITS[usize::try_from(limit.unit).unwrap()], UNITS[*unit]);
            prop_assert_eq!(limit.unit_multiplier, (*multiplier > 1 && UNITS[*unit].is_some()).then_some(*multiplier));
            prop_assert_eq!(&limit.name, name);
            prop_assert_eq!(u64::from(status.limit_remaining), (*remaining).min(u64::from(u32::MAX)));
            let reset_of = status.duration_until_reset.unwrap();
            prop_assert_eq!((reset_of.seconds, reset_of.nanos), (i64::try_from(reset.div_ceil(1_000_000_000)).unwrap(), 0));
        }
    }
}

#[test]
fn invalid_utf8_is_decoded_lossily() {
    // domain "d", descriptor { entry { key "k", value 61 e9 62 } }
    let bytes = b"\x0a\x01d\x12\x0a\x0a\x08\x0a\x01k\x12\x03a\xe9b";
    let check = rls::read(bytes).unwrap();
    assert_eq!(check.descriptors[0].entries[0].value, "a\u{fffd}b");
    assert!(RateLimitRequest::decode(bytes.as_slice()).is_err(), "the generated type would have rejected it");
}

#[test]
fn every_bound_has_its_error() {
    let request = |descriptors, entries| {
        let entry = Entry { key: "k".into(), value: "v".into() };
        let descriptor = RateLimitDescriptor { entries: vec![entry; entries], ..RateLimitDescriptor::default() };
        RateLimitRequest { domain: "d".into(), descriptors: vec![descriptor; descriptors], hits_addend: 0 }
            .encode_to_vec()
    };
    for (descriptors, entries, want) in [
        (1, 100, None),
        (1_000, 1, None),
        (1_001, 1, Some("descriptors in one check: at most 1000 are allowed")),
        (10_000, 1, Some("descriptors in one check: at most 1000 are allowed")),
        (1, 101, Some("entries in one descriptor: at most 100 are allowed")),
        (0, 0, Some("rate limit descriptor list must not be empty")),
    ] {
        let got = rls::read(&request(descriptors, entries)).err().map(|error| error.to_string());
        assert_eq!(got.as_deref(), want, "{descriptors} descriptors of {entries} entries");
    }
    let status = rls::read(b"").unwrap_err().status();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::InvalidArgument, "rate limit domain must not be empty")
    );
    let limiter = tidegate::limiter::Limiter::new(tidegate::limiter::Settings::default());
    let error = Batch::new(&limiter, tidegate::limiter::WorkerSlot(0), Timestamp::EPOCH)
        .decide(Call::default(), &request(1, 1))
        .unwrap_err();
    assert_eq!(error.status().code(), tonic::Code::Unavailable);
    assert_eq!(error.to_string(), "no rate limit configuration loaded");
}
