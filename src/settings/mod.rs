//! Process settings: flags, environment variables and defaults side by side.
//!
//! A flag wins over its variable, the variable over the default. Nothing else of the process reads the environment,
//! except for the standard `OTEL_*` variables and those that `alerts` of the rules name. (The command line looks at the
//! names of the others, to warn about misspelt ones.)

mod alerting;
mod byte_size;
mod config_path;
mod limits;
mod listen;
mod logging;
mod secret;
mod usage;

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::rules::LoadOptions;

pub(crate) use alerting::AlertSettings;
pub(crate) use byte_size::ByteSize;
pub(crate) use config_path::{ConfigPath, ConfigPaths};
pub(crate) use limits::{LimitSettings, WhenFull};
pub(crate) use listen::ListenSettings;
pub(crate) use logging::{LogFormat, LogSettings};
pub(crate) use secret::Secret;
pub(crate) use usage::{DenialLog, UsageSettings};

/// The settings of `tidegate serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Where the rules are.
    #[command(flatten)]
    pub config: ConfigPath,

    /// Allow several files to extend one domain
    ///
    /// Without it, a domain in two files is an error, as in envoyproxy/ratelimit.
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    pub merge_domains: bool,

    /// Which addresses are served, and how that ends.
    #[command(flatten)]
    pub listen: ListenSettings,

    /// How checks are answered, and what counters may take.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// What is recorded of the checks.
    #[command(flatten)]
    pub usage: UsageSettings,

    /// Who is notified of alerts.
    #[command(flatten)]
    pub alerts: AlertSettings,

    /// How the log is written.
    #[command(flatten)]
    pub log: LogSettings,
}

impl Settings {
    /// How the configuration is loaded.
    pub(crate) fn load_options(&self) -> LoadOptions {
        LoadOptions { merge_domains: self.merge_domains }
    }
}

/// Reads a duration such as `500ms`, `5s` or `1m30s`.
///
/// # Errors
/// What is wrong with the text, for the command line to show.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (examples: 500ms, 5s, 1m30s)"))
}
