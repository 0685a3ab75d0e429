//! The log: to standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, LogSettings};
use crate::units::Timestamp;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `--log-level` is not a valid filter.
    #[error("--log-level {level}: {cause} (examples: warn, info,tidegate::grpc=debug)")]
    Level {
        /// The value that was given.
        level: String,
        /// What is wrong with it.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// The process has a logger already.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sets up logging for the process.
///
/// # Errors
/// The level is not valid, or the process has a logger already.
pub fn start(settings: &LogSettings) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .map_err(|cause| LogError::Level { level: settings.log_level.clone(), cause })?;
    let discreet = filter_fn(|metadata| !may_contain_secrets(metadata.target()));
    let asked_for = NOISY.map(|(target, level)| (target, level, settings.log_level.contains(target)));
    let relevant = filter_fn(move |metadata| {
        asked_for.iter().all(|(target, level, asked_for)| {
            *asked_for || !metadata.target().starts_with(target) || metadata.level() <= level
        })
    });
    let registry = tracing_subscriber::registry().with(filter).with(discreet).with(relevant);
    let started = match settings.log_format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal();
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init(),
    };
    started.map_err(|_| LogError::Twice)
}

/// A line in the format of the JSON log, whatever the level: the reason why the process ends.
pub fn fatal_json(now: Timestamp, message: &str) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(now.as_ns());
    let timestamp = humantime::format_rfc3339_micros(at).to_string();
    json!({"timestamp": timestamp, "level": "ERROR", "message": message, "target": env!("CARGO_PKG_NAME")}).to_string()
}

/// Libraries with lines that are of no use to operators, and the level that is. A level that names one of them shows all its lines.
///
/// When a directory is swapped for another, as an update of a ConfigMap does, the file watcher warns that it has lost the old one, although
/// the new one is watched by then. A peer that sends a PING that nobody asked for gets a warning for each.
const NOISY: [(&str, Level); 2] = [("notify", Level::ERROR), ("h2", Level::ERROR)];

/// Whether lines of that target may contain secrets: at `debug` the clients of webhooks and mail servers log what they send.
/// No level lets them through.
fn may_contain_secrets(target: &str) -> bool {
    ["ureq", "lettre"].iter().any(|client| target.starts_with(client))
}
