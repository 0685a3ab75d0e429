//! What is recorded about checks: usage, its history, and denials.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::{ByteSize, duration};

/// What is recorded about checks.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Usage and history")]
pub(crate) struct UsageSettings {
    /// Maximum number of counters tracked individually, and of values of the keys in `usage: by`
    ///
    /// Each takes 64 bytes and its name. The first ones seen are tracked until the process ends; the rest is aggregated as
    /// the `other` of their rule or key. 0: only rules and keys are tracked.
    #[arg(long, env = "TIDEGATE_USAGE_SERIES", value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub usage_series: u32,

    /// Which denied checks to log, one line each with rule, entries, limit and reason
    #[arg(long, env = "TIDEGATE_DENIAL_LOG", value_name = "WHICH", value_enum, default_value_t = DenialLog::Off)]
    pub denial_log: DenialLog,

    /// Directory that keeps counters, settings, the audit log and the history of usage; without it, the last hour of usage is in memory
    ///
    /// It is created if it does not exist. Only one process at a time can use it. Example: --data-dir /var/lib/tidegate
    #[arg(long, env = "TIDEGATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// What a crash or a kill -9 can lose of counters and bans in the data directory, 100ms to 1m; an orderly stop loses nothing
    #[arg(long, env = "TIDEGATE_STATE_FLUSH", value_name = "DURATION", default_value = "1s", value_parser = flush_interval)]
    pub state_flush: Duration,

    /// Interval between two writes of the history, 100ms to 1m: the most that a crash can lose
    #[arg(long, env = "TIDEGATE_HISTORY_FLUSH", value_name = "DURATION", default_value = "5s", value_parser = flush_interval)]
    pub history_flush: Duration,

    /// Maximum size of the history on disk, at least 16MiB: the oldest minutes, hours and days are deleted first
    #[arg(long, env = "TIDEGATE_HISTORY_MAX_BYTES", value_name = "BYTES", default_value = "1GiB", value_parser = history_bytes)]
    pub history_max_bytes: ByteSize,

    /// New file for a trace of the checks from the start on, for `simulate` and `suggest`; `tidegate record` needs no restart
    ///
    /// If the file exists or cannot be written, the service runs without it. Values in it are personal data. Example: --record
    /// /var/lib/tidegate/trace.jsonl
    #[arg(long, env = "TIDEGATE_RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Maximum number of checks in the file of --record
    #[arg(long, env = "TIDEGATE_RECORD_MAX_CHECKS", value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub record_max_checks: u64,

    /// Write hashes of values to the file of --record, but for those that the rules name
    #[arg(long, env = "TIDEGATE_RECORD_HASH_VALUES", value_parser = BoolishValueParser::new())]
    pub record_hash_values: bool,
}

/// Which denied checks are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DenialLog {
    /// None
    Off,
    /// One per second and rule
    Sampled,
    /// All, up to 100 per second and rule
    All,
}

/// The interval must not exceed a minute, the length of the shortest row of the history.
fn flush_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let range = Duration::from_millis(100)..=Duration::from_mins(1);
    if range.contains(&interval) { Ok(interval) } else { Err("expected 100ms to 1m".to_owned()) }
}

/// With less, one day of many series would not fit, and nothing older could be removed.
fn history_bytes(text: &str) -> Result<ByteSize, String> {
    let bytes: ByteSize = text.parse()?;
    if bytes.0 >= 16 << 20 { Ok(bytes) } else { Err("expected at least 16MiB".to_owned()) }
}
