//! Process settings: flags, environment variables and defaults.
//!
//! A flag has precedence over its variable, and the variable over the default. Nothing else in the process reads the
//! environment, except for the standard `OTEL_*` variables and those that `alerts` of the rules name. (The command line reads
//! the names of other variables, to warn about misspelt ones.)

mod access;
mod alerting;
mod byte_size;
mod config_path;
mod limits;
mod listen;
mod logging;
mod secret;
mod statsd;
mod store;
mod tls;
mod usage;
mod xds;

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::rules::LoadOptions;

pub(crate) use access::{AccessSettings, Json};
pub(crate) use alerting::AlertSettings;
pub(crate) use byte_size::ByteSize;
pub(crate) use config_path::{ConfigPath, ConfigPaths, RulesPath};
pub(crate) use limits::{HeaderNames, LimitSettings, SettingsMode, WhenFull};
pub(crate) use listen::ListenSettings;
pub(crate) use logging::{LogFormat, LogSettings};
pub(crate) use secret::Secret;
pub(crate) use statsd::{StatsdFormat, StatsdProtocol, StatsdRename, StatsdSettings, StatsdUrl};
pub(crate) use store::{StoreSettings, WhenDown};
pub(crate) use tls::TlsSettings;
pub(crate) use usage::{DenialLog, UsageSettings};
pub(crate) use xds::XdsSettings;

/// The settings of `tidegate serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The path of the rules, unless a control plane sends them.
    #[command(flatten)]
    pub config: RulesPath,

    /// Allow several files to extend one domain
    ///
    /// Without it, a domain in two files is an error, as in envoyproxy/ratelimit.
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    pub merge_domains: bool,

    /// The control plane that sends the rules, in place of files.
    #[command(flatten)]
    pub xds: XdsSettings,

    /// Take the place of envoyproxy/ratelimit: read its variables, and ignore arguments that are not known
    ///
    /// As when the program is called `ratelimit`. A variable TIDEGATE_... has precedence over one of these; the log lists what is honoured and what is ignored.
    #[arg(long, env = "TIDEGATE_AS_RATELIMIT", value_parser = BoolishValueParser::new())]
    pub as_ratelimit: bool,

    /// What `ratelimit` mode adds, for which there are no flags.
    #[arg(skip)]
    pub reference: ReferenceSettings,

    /// Addresses, worker threads and shutdown.
    #[command(flatten)]
    pub listen: ListenSettings,

    /// Who may use which port.
    #[command(flatten)]
    pub access: AccessSettings,

    /// TLS of the ports.
    #[command(flatten)]
    pub tls: TlsSettings,

    /// How checks are answered, and the memory of counters.
    #[command(flatten)]
    pub limits: LimitSettings,

    /// The store of shared counters.
    #[command(flatten)]
    pub store: StoreSettings,

    /// What is recorded about checks.
    #[command(flatten)]
    pub usage: UsageSettings,

    /// A statsd that statistics are pushed to.
    #[command(flatten)]
    pub statsd: StatsdSettings,

    /// Default receivers of alerts.
    #[command(flatten)]
    pub alerts: AlertSettings,

    /// Format and level of the log.
    #[command(flatten)]
    pub log: LogSettings,
}

/// What `ratelimit` mode adds: what envoyproxy/ratelimit does, and nobody else would ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReferenceSettings {
    /// Every file of a directory has rules, whatever its name.
    pub any_file_name: bool,
    /// Variables `OTEL_*` in place of those of the environment; without a value: not set.
    pub otel: Vec<(&'static str, Option<String>)>,
    /// Tags for statsd, with names that need not be names of labels.
    pub statsd_tags: Option<Vec<(String, String)>>,
    /// Other names for DogStatsD.
    pub statsd_renames: Vec<StatsdRename>,
}

impl Settings {
    /// Options for loading the configuration.
    pub(crate) fn load_options(&self) -> LoadOptions {
        LoadOptions { merge_domains: self.merge_domains, count_no_denied: self.limits.count_no_denied }
    }
}

/// Reads a duration such as `500ms`, `5s` or `1m30s`.
///
/// # Errors
/// What is wrong with the text, for the error of the command line.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (examples: 500ms, 5s, 1m30s)"))
}
