//! `tidegate health`: whether a running server is serving, for probes where there is no shell and no other client.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::dial::TlsFlags;
use super::target::{self, Port, Target};
use super::{complain, print};
use crate::settings::duration;

/// The server to ask.
#[derive(Args, Clone, Debug)]
pub(super) struct Health {
    /// Address of the service: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    #[arg(long, env = "TIDEGATE_ADDR", value_name = "URL", default_value = "http://127.0.0.1:8081", value_parser = target::parse)]
    addr: Target,

    /// Time limit for the answer
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    timeout: Duration,

    #[command(flatten)]
    tls: TlsFlags,
}

impl Health {
    /// Asks, and prints the answer. Exit status: 0 for SERVING, else 1, as container engines know no other one.
    pub(super) fn run(&self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(self.ask()));
        match answer {
            Ok(status) => {
                print(status.as_str_name());
                if status == ServingStatus::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn ask(&self) -> Result<ServingStatus, String> {
        let asking = async {
            let channel = self.tls.connect(Port::CHECKS, &self.addr, |endpoint| endpoint).await?;
            let request = HealthCheckRequest { service: SERVICE.to_owned() };
            let answer = HealthClient::new(channel).check(request).await;
            answer.map_err(|status| format!("{}: {:?}: {}", self.addr, status.code(), status.message()))
        };
        let answer = tokio::time::timeout(self.timeout, asking).await;
        let timeout = humantime::format_duration(self.timeout);
        let answer =
            answer.map_err(|_| format!("{}: no answer within {timeout}{}", self.addr, Port::CHECKS.silent()))?;
        Ok(answer?.into_inner().status())
    }
}

/// The name under which Envoy's health checks ask for the service.
const SERVICE: &str = "ratelimit";
