//! The flags that select settings and changes by what they apply to.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::api::proto::tidegate::v1::Entry;
use crate::cli::descriptor::parse_entry;

/// Which scopes are listed [default: all].
#[derive(Args, Clone, Debug)]
pub(super) struct ScopeFilter {
    /// Only those of this rule
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub(super) rule: Option<String>,

    /// Only those of this domain and its rules
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) domain: Option<String>,

    /// Only those with this entry in their scope; can be repeated
    #[arg(long = "entry", value_name = "KEY=VALUE", value_parser = parse_entry)]
    pub(super) entries: Vec<Entry>,
}
