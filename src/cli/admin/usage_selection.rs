//! The flags that select a part of the usage.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::api::proto::tidegate::v1::{Entry, EntryFilter, UsageFilter};
use crate::cli::descriptor::parse_entry;

/// Which part of the usage is shown [default: all].
#[derive(Args, Clone, Debug)]
pub(super) struct UsageSelection {
    /// Only this domain
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) domain: Option<String>,

    /// Only this rule, by its path as /rlconfig shows it
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub(super) rule: Option<String>,

    /// Only what has this entry; repeat the flag for more entries
    #[arg(long = "entry", value_name = "KEY=VALUE", value_parser = parse_entry)]
    pub(super) entries: Vec<Entry>,
}

impl UsageSelection {
    /// The filter of a request.
    pub(super) fn filter(self, only_denied: bool) -> UsageFilter {
        let entries = self.entries.into_iter().map(|Entry { key, value }| EntryFilter { key, value });
        UsageFilter {
            domain: self.domain.unwrap_or_default(),
            rule: self.rule.unwrap_or_default(),
            entries: entries.collect(),
            only_denied,
        }
    }
}
