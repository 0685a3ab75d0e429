//! How checks are answered, and the memory of counters.

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::ByteSize;

/// How checks are answered, and the memory of counters.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitSettings {
    /// Deny nothing: answer OK overall, and report in the statuses what would have been denied
    #[arg(long, env = "TIDEGATE_SHADOW_MODE", value_parser = BoolishValueParser::new())]
    pub shadow_mode: bool,

    /// Treat every descriptor as a quota descriptor: a check is denied only when all of its descriptors are over
    #[arg(long, env = "TIDEGATE_QUOTA_MODE", value_parser = BoolishValueParser::new())]
    pub quota_mode: bool,

    /// Add the domain, the descriptors and the rules' metadata to dynamic_metadata of every answer
    #[arg(long, env = "TIDEGATE_DYNAMIC_METADATA", value_parser = BoolishValueParser::new())]
    pub dynamic_metadata: bool,

    /// Memory budget of the counters, in bytes or with a suffix: KiB, MiB, GiB (1024) or KB, MB, GB (1000)
    #[arg(long, env = "TIDEGATE_COUNTER_MEMORY", value_name = "BYTES", default_value = "1GiB")]
    pub counter_memory: ByteSize,

    /// What to answer when a check needs a new counter and the memory budget is used up
    #[arg(long, env = "TIDEGATE_WHEN_FULL", value_name = "ANSWER", value_enum, default_value_t = WhenFull::Deny)]
    pub when_full: WhenFull,

    /// Whether operators can change settings at run time
    ///
    /// read-only refuses `tidegate settings set` and `unset`, where every change has to go through the configuration (GitOps).
    #[arg(long, env = "TIDEGATE_SETTINGS", value_name = "MODE", value_enum, default_value_t = SettingsMode::ReadWrite)]
    pub settings: SettingsMode,
}

/// Whether settings can be changed at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SettingsMode {
    /// They can
    ReadWrite,
    /// They cannot
    ReadOnly,
}

/// What happens to a new counter when the budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// OVER_LIMIT: no request passes uncounted
    Deny,
    /// OK, uncounted: no request is denied for lack of memory
    Allow,
}
