//! `tidegate ask`: sends one check, and prints its answer for people or programs.

use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use prost::Message;

use super::dial::TlsFlags;
use super::target::{Port, Target};
use super::{complain, descriptor, print, target};
use crate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use crate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::api::rls::json;
use crate::settings::duration;

/// The check to send.
#[derive(Args, Clone, Debug)]
pub(super) struct Ask {
    /// The domain of the rules
    #[arg(long)]
    domain: String,

    /// A descriptor: its entries in order; repeat the flag for more descriptors
    ///
    /// Write a comma inside a value as \, or quote the value. A backslash before , = " or \ gives that character.
    ///
    /// Examples: --descriptor partner=acme,endpoint=/pay --descriptor tenant=t1
    /// --descriptor 'agent="Mozilla/5.0 (X11, Linux)",path=/pay'
    #[arg(long = "descriptor", value_name = "KEY=VALUE,...", required = true, value_parser = descriptor::parse)]
    descriptors: Vec<RateLimitDescriptor>,

    /// Number of hits that the check costs; 0 reads the counters without charging them
    #[arg(long, value_name = "COUNT", default_value_t = 1, allow_negative_numbers = true)]
    hits: u32,

    /// Address of the service: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    #[arg(long, env = "TIDEGATE_ADDR", value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = target::parse)]
    addr: Target,

    /// Time limit for the answer
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    timeout: Duration,

    /// Print the complete answer as protojson
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    tls: TlsFlags,
}

impl Ask {
    /// Sends the check and prints the answer. Exit status: 0 for OK, 1 for OVER_LIMIT, 2 without such an answer.
    pub(super) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(self.ask()));
        match answer {
            Ok(answer) => {
                self.show(&answer);
                exit_code(answer.overall_code())
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::from(NO_ANSWER)
            }
        }
    }

    /// Prints the answer to standard output; with `--json` nothing else.
    fn show(&self, answer: &RateLimitResponse) {
        print(&if self.json { json::response_to_json(&answer.encode_to_vec()) } else { describe(answer) });
        if !answer.statuses.iter().all(matched_nothing) {
            return;
        }
        let note = format!(
            "nothing limits this check: the service has no domain {:?}, none of its rules matches all entries in their \
             order, or what matches is switched off (`tidegate explain` says which)",
            self.domain
        );
        if self.json { complain(&format!("note: {note}")) } else { print(&note) }
    }

    async fn ask(&self) -> Result<RateLimitResponse, String> {
        let mut request = tonic::Request::new(self.request());
        // With the timeout the service denies a check that it would have to delay for longer, in place of charging it.
        request.set_timeout(self.timeout);
        let asking = async {
            let channel = self.tls.connect(Port::CHECKS, &self.addr, |endpoint| endpoint).await?;
            let answer = RateLimitServiceClient::new(channel).should_rate_limit(request).await;
            answer.map_err(|status| self.failure(&status))
        };
        let answer = tokio::time::timeout(self.timeout, asking).await;
        let answer = answer.map_err(|_| self.too_late())?;
        Ok(answer?.into_inner())
    }

    fn request(&self) -> RateLimitRequest {
        let mut descriptors = self.descriptors.clone();
        if self.hits == 0 {
            // In the request 0 means 1; only a descriptor can have 0 hits.
            for descriptor in &mut descriptors {
                descriptor.hits_addend = Some(0);
            }
        }
        RateLimitRequest { domain: self.domain.clone(), descriptors, hits_addend: self.hits }
    }

    /// Why there is no answer: the status from the service, or the error of the connection.
    fn failure(&self, status: &tonic::Status) -> String {
        let addr = &self.addr;
        match (status.code(), status.source()) {
            // The client enforces the timeout too, and may be the first to notice.
            (tonic::Code::DeadlineExceeded, _) => self.too_late(),
            (_, Some(error)) if target::causes(error).any(<dyn Error>::is::<tonic::TimeoutExpired>) => self.too_late(),
            (_, Some(error)) => Port::CHECKS.describe(addr, "connection lost", error),
            (code @ tonic::Code::Unimplemented, None) => {
                format!(
                    "{addr}: {code:?}: {}; does --addr name the gRPC port of a rate limit service?",
                    status.message()
                )
            }
            (code, None) => format!("{addr}: {code:?}: {}", status.message()),
        }
    }

    fn too_late(&self) -> String {
        let timeout = humantime::format_duration(self.timeout);
        format!("{}: no answer within {timeout}{}", self.addr, Port::CHECKS.silent())
    }
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
        let limit = if status.limit_remaining == u32::MAX { "unlimited" } else { "no limit: no rule applies" };
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

/// Whether the service found neither a limit nor an unlimited rule.
fn matched_nothing(status: &DescriptorStatus) -> bool {
    status.current_limit.is_none() && status.limit_remaining != u32::MAX
}

const OVER_LIMIT: u8 = 1;
const NO_ANSWER: u8 = 2;
