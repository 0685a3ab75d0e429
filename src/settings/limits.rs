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

    /// Memory budget of the counters, in bytes or with a suffix: KiB, MiB, GiB (1024) or KB, MB, GB (1000) [default: half of the memory
    /// limit of the container or control group; 1GiB without one]
    #[arg(long, env = "TIDEGATE_COUNTER_MEMORY", value_name = "BYTES")]
    pub counter_memory: Option<ByteSize>,

    /// What to answer when a check needs a new counter and the memory budget is used up
    #[arg(long, env = "TIDEGATE_WHEN_FULL", value_name = "ANSWER", value_enum, default_value_t = WhenFull::Deny)]
    pub when_full: WhenFull,

    /// Whether operators can change settings at run time
    ///
    /// read-only refuses `tidegate settings set` and `unset`, where every change has to go through the configuration (GitOps).
    #[arg(long, env = "TIDEGATE_SETTINGS", value_name = "MODE", value_enum, default_value_t = SettingsMode::ReadWrite)]
    pub settings: SettingsMode,
}

impl LimitSettings {
    /// The budget of the counters in bytes, by the limit on the memory of the process.
    pub(crate) fn counter_budget_bytes(&self, limit_bytes: Option<u64>) -> u64 {
        let of_limit = || limit_bytes.map_or(DEFAULT_BUDGET_BYTES, |limit| limit / 2);
        self.counter_memory.map_or_else(of_limit, |budget| budget.0)
    }

    /// What is wrong with the budget under this limit: the rest of the process needs memory, too.
    pub(crate) fn budget_warning(&self, limit_bytes: Option<u64>) -> Option<String> {
        let (budget, limit) = (self.counter_budget_bytes(limit_bytes), limit_bytes?);
        let largest = limit / 4 * 3;
        (budget > largest).then(|| {
            format!(
                "--counter-memory is {budget} bytes, more than three quarters of the {limit} bytes that this process may use: before the \
                 budget is used up, it may be killed for want of memory"
            )
        })
    }
}

/// The budget where nothing limits the memory of the process.
const DEFAULT_BUDGET_BYTES: u64 = 1 << 30;

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitSettings,
    }

    #[test]
    fn the_budget_follows_the_limit_unless_it_is_set() {
        const GIB: u64 = 1 << 30;
        for (flags, limit, budget, warns) in [
            (&[][..], None, GIB, false),
            (&[], Some(GIB), GIB / 2, false),
            (&["--counter-memory", "512MiB"], Some(GIB), GIB / 2, false),
            (&["--counter-memory", "768MiB"], Some(GIB), GIB / 4 * 3, false),
            (&["--counter-memory", "769MiB"], Some(GIB), 769 << 20, true),
            (&["--counter-memory", "2GiB"], Some(GIB), 2 * GIB, true),
            (&["--counter-memory", "2GiB"], None, 2 * GIB, false),
        ] {
            let limits = Line::parse_from([&["tidegate"][..], flags].concat()).limits;
            assert_eq!(limits.counter_budget_bytes(limit), budget, "{flags:?} {limit:?}");
            assert_eq!(limits.budget_warning(limit).is_some(), warns, "{flags:?} {limit:?}");
        }
    }
}
