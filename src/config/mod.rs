//! Where the rules come from, and how they come into force; what is in them is the business of [`rules`](crate::rules).
//!
//! ```text
//! Source --read--> files --rules::load--> RuleSet --Publisher + settings--> limiter
//!    ^                                                 |
//!    '------ Watch: something changed                  '--> ReloadStatus: metrics, /readyz
//! ```
//!
//! [`Reloader`] is the source that reads files. Another source, such as a control plane, loads in its own way and hands over to
//! the same [`Publisher`](publish::Publisher).

mod candidate;
mod files;
mod publish;
mod reload;
mod settings;

pub(crate) use candidate::{CandidateError, CandidateRules, CandidateSource, CandidateState};
pub(crate) use files::{ContentHash, Files, MAX_BYTES, Pace, ReadError, Source, Watch};
pub(crate) use publish::{Loaded, Publisher, ReloadStatus, RulesInForce};
pub(crate) use reload::{LoadError, Reloader, warnings};
pub(crate) use settings::{
    AdoptedSetting, EffectiveValue, MAX_LENGTH, SetOutcome, Setting, SettingChange, SettingError, SettingsBook,
    ValueSource, check_reason,
};
