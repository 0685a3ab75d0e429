//! The same tables against a running server, by gRPC.

use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::DescriptorStatus;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::engine::{Algorithm, Limit};
use tidegate::limiter::Settings;
use tidegate::runtime::clock::Clock;
use tidegate::units::Nanos;

use crate::scene::load;
use crate::script::{Answer, Line, limit_text};
use crate::server::TestServer;

/// Sends the checks of a table that needs no waiting, and compares what the wire can tell.
///
/// Time passes meanwhile, so the table is tried again when one of its windows ended while it ran.
#[track_caller]
pub(crate) fn check(settings: Settings, config: &str, lines: &[Line]) {
    let Some(shortest) = shortest_window(config, lines) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = Clock::start();
    for attempt in 1.. {
        let window = || clock.now().as_ns() / shortest.as_ns();
        let begun = window();
        let wrong = runtime.block_on(wrong(settings, config, lines));
        if wrong.is_empty() {
            return;
        }
        assert!(begun != window() && attempt < ATTEMPTS, "by gRPC:\n{}", wrong.join("\n"));
    }
}

/// The shortest window of a table, if all of its checks come at one instant and nothing changes within a minute.
fn shortest_window(config: &str, lines: &[Line]) -> Option<Nanos> {
    let first = lines.first()?.at;
    let rules = load(config);
    let limits = rules.rules().iter().flat_map(|rule| &rule.limits).map(|limit| &limit.limit);
    let steady = |limit: &Limit| match limit.algorithm {
        Algorithm::TokenBucket { .. } => limit.window.as_ns() / u64::from(limit.max.max(1)),
        _ => limit.window.as_ns(),
    };
    let of_rules = limits.map(steady);
    let overrides = lines.iter().flat_map(|line| &line.request.descriptors).filter_map(|descriptor| descriptor.limit);
    let for_overrides = overrides.map(|limit| if limit.unit == 1 { 1 } else { MINUTE.as_ns() });
    let shortest = of_rules.chain(for_overrides).min().unwrap_or(u64::MAX);
    let shortest = Nanos::from_ns(shortest);
    (lines.iter().all(|line| line.at == first) && shortest >= MINUTE).then_some(shortest)
}

async fn wrong(settings: Settings, config: &str, lines: &[Line]) -> Vec<String> {
    let flags = [
        (settings.shadow_mode, "--shadow-mode"),
        (settings.quota_mode, "--quota-mode"),
        (settings.dynamic_metadata, "--dynamic-metadata"),
    ];
    let flags: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    let server = TestServer::start(config, &flags);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    let mut wrong = Vec::new();
    for line in lines {
        let expected = on_the_wire(&line.expected);
        for time in 1..=line.times {
            let answer = service.should_rate_limit(line.request.clone()).await.unwrap().into_inner();
            let got = reported(&answer);
            if !expected.is_met_by(&got) {
                wrong.push(format!("{}\n  time {time}\n  expected {expected}\n  got      {got}", line.text));
                break;
            }
        }
    }
    wrong
}

/// An answer without what the wire does not tell: the rule, and how long an answer was held; nor is the reset compared.
fn on_the_wire(expected: &Answer) -> Answer {
    let status = |text: &String| match text.split(' ').collect::<Vec<_>>()[..] {
        [code, _, limit, remaining, _, ref name @ ..] => [&[code, limit, remaining], name].concat().join(" "),
        [code, _, "unlimited"] => format!("{code} unlimited"),
        _ => text.clone(),
    };
    let overall = expected.overall.split(' ').next().unwrap_or_default().to_owned();
    Answer { overall, statuses: expected.statuses.as_ref().map(|all| all.iter().map(status).collect()) }
}

fn reported(answer: &RateLimitResponse) -> Answer {
    Answer {
        overall: answer.overall_code().as_str_name().to_owned(),
        statuses: Some(answer.statuses.iter().map(status).collect()),
    }
}

fn status(status: &DescriptorStatus) -> String {
    let code = status.code().as_str_name();
    let Some(limit) = &status.current_limit else {
        let has_more = status.duration_until_reset.is_some();
        return match status.limit_remaining {
            0 if !has_more => format!("{code} -"),
            u32::MAX if !has_more => format!("{code} unlimited"),
            _ => format!("{status:?}"),
        };
    };
    let unit = limit.unit().as_str_name();
    let multiplier = limit.unit_multiplier.unwrap_or(1);
    assert_ne!(limit.unit_multiplier, Some(1), "a multiplier of 1 is left out");
    let text = limit_text(limit.requests_per_unit, Some(unit).filter(|unit| *unit != "UNKNOWN"), multiplier);
    let reset = status.duration_until_reset.unwrap();
    // A sliding window regains the last of its allowance two windows later.
    let longest = length_secs(unit).map_or(i64::MAX, |secs| 2 * secs * i64::from(multiplier));
    let is_full = status.limit_remaining == limit.requests_per_unit;
    assert!(
        (i64::from(!is_full || code == "OVER_LIMIT")..=longest).contains(&reset.seconds) && reset.nanos == 0,
        "{status:?}"
    );
    let name = if limit.name.is_empty() { String::new() } else { format!(" #{}", limit.name) };
    format!("{code} {text} {}{name}", status.limit_remaining)
}

/// The length of a unit by its name on the wire.
fn length_secs(unit: &str) -> Option<i64> {
    let days = |days: i64| Some(days * 86_400);
    match unit {
        "SECOND" => Some(1),
        "MINUTE" => Some(60),
        "HOUR" => Some(3600),
        "DAY" => days(1),
        "WEEK" => days(7),
        "MONTH" => days(30),
        "YEAR" => days(365),
        _ => None,
    }
}

const MINUTE: Nanos = Nanos::from_secs(60);

/// No script takes as long as two of its windows, so that one of these runs within one.
const ATTEMPTS: u32 = 3;
