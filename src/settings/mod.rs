//! Process settings: flags, environment variables and defaults side by side.
//!
//! A flag wins over its variable, the variable over the default. Nothing else of the process reads the environment,
//! except for the standard `OTEL_*` variables and those that `alerts` of the rules name. (The command line looks at the
//! names of the others, to warn about misspelt ones.)

mod alerting;
mod config_path;
mod secret;

use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use crate::net::Address;
use crate::rules::LoadOptions;

pub use alerting::AlertSettings;
pub use config_path::{ConfigPath, ConfigPaths};
pub use secret::Secret;

/// What `tidegate serve` is told.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Switches of a command line, each on its own.
pub struct Settings {
    /// Where the rules are.
    #[command(flatten)]
    pub config: ConfigPath,

    /// Let several files extend one domain
    ///
    /// Without it a domain that two files name is an error, as in envoyproxy/ratelimit.
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    pub merge_domains: bool,

    /// Where Envoy asks: the rate limit service, gRPC health and reflection
    ///
    /// HOST:PORT, where port 0 takes any free port, or unix:/PATH. Example: --grpc-addr unix:/run/tidegate.sock
    #[arg(long, env = "TIDEGATE_GRPC_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub grpc_addr: Address,

    /// Plain HTTP: /json, /healthcheck, /livez, /readyz, /metrics
    #[arg(long, env = "TIDEGATE_HTTP_ADDR", value_name = "HOST:PORT", default_value = "0.0.0.0:8080")]
    pub http_addr: Address,

    /// For operators: /rlconfig, /metrics, gRPC health and reflection; keep it away from the public
    #[arg(long, env = "TIDEGATE_ADMIN_ADDR", value_name = "HOST:PORT", default_value = "127.0.0.1:8082")]
    pub admin_addr: Address,

    /// A directory where the history of usage survives a restart; without it the last hour is in memory
    ///
    /// It is made if it is missing, and one process at a time may use it. Counters and bans are not kept there yet: a
    /// restart begins with fresh ones. Example: --data-dir /var/lib/tidegate
    #[arg(long, env = "TIDEGATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// The time between two writes of the history, from 100ms to 1m: what a crash can lose of it
    #[arg(long, env = "TIDEGATE_HISTORY_FLUSH", value_name = "DURATION", default_value = "5s", value_parser = flush_interval)]
    pub history_flush: Duration,

    /// How large the history on disk may grow, at least 16MiB: the oldest minutes, hours and days go first
    #[arg(long, env = "TIDEGATE_HISTORY_MAX_BYTES", value_name = "BYTES", default_value = "1GiB", value_parser = history_bytes)]
    pub history_max_bytes: ByteSize,

    /// How long checks are still served after SIGTERM, while health already says NOT_SERVING
    ///
    /// Longer than the health check interval of the clients plus one second (Envoy hands a change to its workers at
    /// most once a second). Example: --drain 10s
    #[arg(long, env = "TIDEGATE_DRAIN", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub drain: Duration,

    /// When a shutdown is over, counted from SIGTERM: what is still open then is closed
    #[arg(long, env = "TIDEGATE_SHUTDOWN_DEADLINE", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub shutdown_deadline: Duration,

    /// Connections on each of the three ports; one more is accepted and closed at once
    ///
    /// Raise it together with the limit on open files (ulimit -n).
    #[arg(long, env = "TIDEGATE_MAX_CONNECTIONS", value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Threads that decide, each with connections of its own [default: one for each core]
    #[arg(long, env = "TIDEGATE_WORKERS", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Deny nothing: every answer is OK overall, the statuses tell what would have been denied
    #[arg(long, env = "TIDEGATE_SHADOW_MODE", value_parser = BoolishValueParser::new())]
    pub shadow_mode: bool,

    /// Treat every descriptor as a quota descriptor: a check is denied only when all of its descriptors are over
    #[arg(long, env = "TIDEGATE_QUOTA_MODE", value_parser = BoolishValueParser::new())]
    pub quota_mode: bool,

    /// Tell the domain, the descriptors and the rules' metadata in dynamic_metadata of every answer
    #[arg(long, env = "TIDEGATE_DYNAMIC_METADATA", value_parser = BoolishValueParser::new())]
    pub dynamic_metadata: bool,

    /// How much memory the counters may take: bytes, or with a suffix KiB, MiB, GiB (1024) or KB, MB, GB (1000)
    #[arg(long, env = "TIDEGATE_COUNTER_MEMORY", value_name = "BYTES", default_value = "1GiB")]
    pub counter_memory: ByteSize,

    /// What happens to a check that needs a new counter when the memory for counters is full
    #[arg(long, env = "TIDEGATE_WHEN_FULL", value_name = "ANSWER", value_enum, default_value_t = WhenFull::Deny)]
    pub when_full: WhenFull,

    /// Maximum number of counters tracked individually, and of values of the keys in `usage: by`, 64 bytes and a name each
    ///
    /// The first that are seen have a usage of their own until the process ends, the rest is reported together as the
    /// `other` of their rule or key. 0: rules and keys only.
    #[arg(long, env = "TIDEGATE_USAGE_SERIES", value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub usage_series: u32,
    /// Which denied checks are logged, each as a line with its rule, entries, limit and reason
    #[arg(long, env = "TIDEGATE_DENIAL_LOG", value_name = "WHICH", value_enum, default_value_t = DenialLog::Off)]
    pub denial_log: DenialLog,

    /// Who is notified of alerts
    #[command(flatten)]
    pub alerts: AlertSettings,

    /// How the log is written, to standard error
    #[command(flatten)]
    pub log: LogSettings,
}

impl Settings {
    /// How many threads decide; a unix socket has one listener, so one.
    pub fn worker_count(&self) -> usize {
        let cores = || available_parallelism().map_or(1, usize::from);
        match &self.grpc_addr {
            Address::Unix(_) => 1,
            Address::Tcp(_) => self.workers.map_or_else(cores, usize::from),
        }
    }

    /// How the configuration is loaded.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions { merge_domains: self.merge_domains }
    }
}

/// How the log is written.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// The form of the log on standard error: lines for people, or one JSON object a line
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also by module
    ///
    /// Example: --log-level info,tidegate::grpc=debug
    #[arg(long, env = "TIDEGATE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Which denied checks are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DenialLog {
    /// None
    Off,
    /// One a second of each rule
    Sampled,
    /// All, up to 100 a second of each rule
    All,
}

/// What happens to a new counter that no longer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// OVER_LIMIT: nobody passes uncounted
    Deny,
    /// OK, uncounted: nobody is denied for want of memory
    Allow,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        let unit = byte_unit(suffix.trim()).ok_or_else(|| format!("unknown suffix '{suffix}': use KiB, MiB or GiB"))?;
        let number: u64 = number.parse().map_err(|_| "expected a number such as 512MiB".to_owned())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| "more bytes than can be counted".to_owned())
    }
}

/// Reads a duration such as `500ms`, `5s` or `1m30s`.
///
/// # Errors
/// What is wrong with the text, for the command line to show.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (examples: 500ms, 5s, 1m30s)"))
}

/// A row of the history is a minute long: a flush belongs into one.
fn flush_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let range = Duration::from_millis(100)..=Duration::from_mins(1);
    if range.contains(&interval) { Ok(interval) } else { Err("expected 100ms to 1m".to_owned()) }
}

/// Below this a day of many series has no room, and nothing older could go.
fn history_bytes(text: &str) -> Result<ByteSize, String> {
    let bytes: ByteSize = text.parse()?;
    if bytes.0 >= 16 << 20 { Ok(bytes) } else { Err("expected at least 16MiB".to_owned()) }
}

fn byte_unit(suffix: &str) -> Option<u64> {
    Some(match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_sizes() {
        let cases = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("1GiB", Some(1 << 30)),
            ("512 MiB", Some(512 << 20)),
            ("2gb", Some(2_000_000_000)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("99999999999TiB", None),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<ByteSize>().ok(), want.map(ByteSize), "{text:?}");
        }
    }
}
