//! The log: to standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, LogSettings};

/// A log that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `--log-level` is none.
    #[error("--log-level {level}: {cause} (examples: warn, info,tidegate::grpc=debug)")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the log is set up already")]
    Twice,
}

/// Starts the log of the process.
///
/// # Errors
/// When the level cannot be read, or the process has a log already.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .map_err(|cause| LogError::Level { level: settings.log_level.clone(), cause })?;
    let discreet = filter_fn(|metadata| !tells_secrets(metadata.target()));
    let registry = tracing_subscriber::registry().with(filter).with(discreet);
    let started = match settings.log_format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal();
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init(),
    };
    started.map_err(|_| LogError::Twice)
}

/// Whether the lines of that target would hold secrets: at `debug` the clients of webhooks and of mail servers tell what
/// they send. No level lets them through.
fn tells_secrets(target: &str) -> bool {
    ["ureq", "lettre"].iter().any(|client| target.starts_with(client))
}
