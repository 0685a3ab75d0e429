//! Format and level of the log.

use clap::{Args, ValueEnum};

/// Format and level of the log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogSettings {
    /// Format of the log on standard error
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Log level: error, warn, info, debug or trace, also per module
    ///
    /// Example: --log-level info,tidegate::rls=debug
    #[arg(long, env = "TIDEGATE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people to read
    Text,
    /// One JSON object per line
    Json,
}
