//! `tidegate ask`: one check, and its answer for people or programs.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use prost::Message;
use tonic::transport::Endpoint;

use super::{complain, print};
use crate::settings::duration;
use crate::wire::json;
use crate::wire::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use crate::wire::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use crate::wire::proto::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use crate::wire::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use crate::wire::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

/// What to ask.
#[derive(Args, Clone, Debug)]
pub(super) struct Ask {
    /// The domain of the rules
    #[arg(long, env = "TIDEGATE_DOMAIN")]
    domain: String,

    /// A descriptor: its entries in order; give the flag again for more descriptors
    ///
    /// Example: --descriptor partner=acme,endpoint=/pay --descriptor tenant=t1
    #[arg(long = "descriptor", env = "TIDEGATE_DESCRIPTOR", value_name = "KEY=VALUE,...", required = true, value_parser = descriptor)]
    descriptors: Vec<RateLimitDescriptor>,

    /// How many hits the check costs
    #[arg(long, env = "TIDEGATE_HITS", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    hits: u32,

    /// The service: http://HOST:PORT or unix:/PATH
    #[arg(long, env = "TIDEGATE_ADDR", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    addr: String,

    /// How long to wait for the answer
    #[arg(long, env = "TIDEGATE_TIMEOUT", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    timeout: Duration,

    /// Print the whole answer as protojson
    #[arg(long, env = "TIDEGATE_JSON", value_parser = BoolishValueParser::new())]
    json: bool,
}

impl Ask {
    /// Asks and shows the answer. Exit status: 0 for OK, 1 for OVER_LIMIT, 2 when there is no such answer.
    pub(super) fn run(self) -> ExitCode {
        let as_json = self.json;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(self.ask()));
        match answer {
            Ok(answer) => {
                print(&if as_json { json::response_to_json(&answer.encode_to_vec()) } else { describe(&answer) });
                exit_code(answer.overall_code())
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::from(NO_ANSWER)
            }
        }
    }

    async fn ask(self) -> Result<RateLimitResponse, String> {
        let addr = if self.addr.contains(':') && !self.addr.contains("://") && !self.addr.starts_with("unix:") {
            format!("http://{}", self.addr)
        } else {
            self.addr
        };
        let endpoint = Endpoint::from_shared(addr.clone()).map_err(|error| format!("--addr {addr}: {error}"))?;
        let mut request = tonic::Request::new(RateLimitRequest {
            domain: self.domain,
            descriptors: self.descriptors,
            hits_addend: self.hits,
        });
        // So that the service denies what it would have to hold for longer, instead of charging it.
        request.set_timeout(self.timeout);
        let too_late = || format!("{addr}: no answer within {}", humantime::format_duration(self.timeout));
        let asking = async {
            let channel = endpoint.connect().await.map_err(|error| format!("{addr}: {}", causes(&error)))?;
            let answer = RateLimitServiceClient::new(channel).should_rate_limit(request).await;
            answer.map_err(|status| match status.code() {
                // The client keeps the request's own time too, and may be the first to notice.
                tonic::Code::Cancelled | tonic::Code::DeadlineExceeded => too_late(),
                code => format!("{addr}: {code:?}: {}", status.message()),
            })
        };
        let answer = tokio::time::timeout(self.timeout, asking).await;
        let answer = answer.map_err(|_| too_late())?;
        Ok(answer?.into_inner())
    }
}

fn descriptor(text: &str) -> Result<RateLimitDescriptor, String> {
    let entries = text.split(',').map(|entry| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        if key.is_empty() {
            Err(format!("'{entry}' has no key"))
        } else {
            Ok(Entry { key: key.into(), value: value.into() })
        }
    });
    Ok(RateLimitDescriptor { entries: entries.collect::<Result<_, _>>()?, ..RateLimitDescriptor::default() })
}

fn describe(answer: &RateLimitResponse) -> String {
    let mut text = answer.overall_code().as_str_name().to_owned();
    for (index, status) in answer.statuses.iter().enumerate() {
        // Writing to a String does not fail.
        let _written = write!(text, "\n  descriptor {}: {}", index.saturating_add(1), describe_status(status));
    }
    text
}

fn describe_status(status: &DescriptorStatus) -> String {
    let code = status.code().as_str_name();
    let Some(limit) = &status.current_limit else {
        let limit = if status.limit_remaining == u32::MAX { "unlimited" } else { "no limit" };
        return format!("{code}, {limit}");
    };
    let unit = limit.unit().as_str_name().to_lowercase();
    let period = match limit.unit_multiplier {
        Some(multiplier) if multiplier > 1 => format!("{multiplier} {unit}s"),
        _ => unit,
    };
    let reset = status.duration_until_reset.map_or(0, |reset| reset.seconds);
    let remaining = status.limit_remaining;
    let name = if limit.name.is_empty() { String::new() } else { format!(" ({})", limit.name) };
    format!("{code}, limit {} per {period}{name}, remaining {remaining}, reset in {reset} s", limit.requests_per_unit)
}

fn exit_code(overall: Code) -> ExitCode {
    match overall {
        Code::Ok => ExitCode::SUCCESS,
        Code::OverLimit => ExitCode::from(OVER_LIMIT),
        Code::Unknown => ExitCode::from(NO_ANSWER),
    }
}

/// The error with its causes: tonic's own text is only "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

const OVER_LIMIT: u8 = 1;
const NO_ANSWER: u8 = 2;
