//! How checks are answered, and the memory of counters.

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::ByteSize;
use crate::rules::HeaderFamily;

/// How checks are answered, and the memory of counters.
#[allow(clippy::struct_excessive_bools)] // They are switches, each on its own.
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

    /// Let the system use huge pages of memory, where it offers them
    ///
    /// With millions of counters decisions then take some percent less CPU. But whenever memory grows, a worker may wait while 2 MiB are cleared, which takes from
    /// 0.1 ms to 6 ms on virtual machines, so the 99th percentile is higher while a peer opens many streams.
    #[arg(long, env = "TIDEGATE_HUGE_PAGES", value_parser = BoolishValueParser::new())]
    pub huge_pages: bool,

    /// Share of a limit from which on hits are counted as near it, 0 to 1
    #[arg(long, env = "TIDEGATE_NEAR_LIMIT_RATIO", value_name = "SHARE", default_value_t = 0.8, value_parser = share)]
    pub near_limit_ratio: f32,

    /// Headers of answers for domains whose rules name none; separated by commas
    #[arg(long, env = "TIDEGATE_HEADERS", value_name = "FAMILY", value_delimiter = ',', value_enum)]
    pub headers: Vec<Headers>,

    /// Names of the headers of draft-03, in place of RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset
    #[arg(long, env = "TIDEGATE_HEADER_NAMES", value_name = "LIMIT,REMAINING,RESET", value_parser = header_names)]
    pub header_names: Option<HeaderNames>,

    /// Do not count the hits of denied checks where limits do not say it (`count_denied`); as by default for other algorithms than
    /// fixed_window
    #[arg(long, env = "TIDEGATE_COUNT_NO_DENIED", value_parser = BoolishValueParser::new())]
    pub count_no_denied: bool,

    /// Take `unit: month` for a month of the calendar, in UTC, in place of 30 days
    ///
    /// In fixed windows that begin by the clock, and in limits that requests carry; as USE_CALENDAR_MONTH_RATE_LIMIT of envoyproxy/ratelimit. For other units and time zones see `period` in the rules.
    #[arg(long, env = "TIDEGATE_CALENDAR_MONTHS", value_parser = BoolishValueParser::new())]
    pub calendar_months: bool,

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

/// Headers of answers, as `response: headers` of a rules file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Headers {
    /// X-RateLimit-Limit, -Remaining, -Reset
    XRatelimit,
    /// RateLimit-Limit, -Remaining, -Reset
    #[value(name = "draft-03")]
    Draft03,
    /// RateLimit-Policy and RateLimit
    Ietf,
    /// Retry-After, if a check is denied
    RetryAfter,
}

impl Headers {
    /// The family of headers.
    pub(crate) fn family(self) -> HeaderFamily {
        match self {
            Self::XRatelimit => HeaderFamily::XRateLimit,
            Self::Draft03 => HeaderFamily::Draft03,
            Self::Ietf => HeaderFamily::Ietf,
            Self::RetryAfter => HeaderFamily::RetryAfter,
        }
    }
}

/// The names of three headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderNames(pub [String; 3]);

fn header_names(text: &str) -> Result<HeaderNames, String> {
    let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let is_name = |name: &String| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    let expected = || "expected three names of headers, LIMIT,REMAINING,RESET".to_owned();
    if !names.iter().all(is_name) {
        return Err(expected());
    }
    names.try_into().map(HeaderNames).map_err(|_| expected())
}

fn share(text: &str) -> Result<f32, String> {
    let share: f32 = text.parse().map_err(|_| "expected a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a number from 0 to 1".to_owned()) }
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
