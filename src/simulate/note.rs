//! What a recording says of itself: a line at the beginning of a trace, and one at its end.

use serde::{Deserialize, Serialize};

/// A note about a recording: `{"recording": {...}}`, which `simulate` skips.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// When it began, in RFC 3339; only in the first line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub began: String,
    /// The domains that it is limited to; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// One check, or value, in so many was recorded; 0 in the last line.
    #[serde(skip_serializing_if = "is_zero")]
    pub one_in: u64,
    /// The entry key whose values were chosen; empty: single checks were.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sample_by: String,
    /// Values are hashes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hashed: bool,
    /// Why it ended; only in the last line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ended: String,
    /// Checks in the trace; only in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<u64>,
    /// Checks that were selected, and lost because they did not fit.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// Checks that were recorded with the time of the check before them, because they came too late.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
    /// Descriptors that match another rule because of their hashes.
    #[serde(skip_serializing_if = "is_zero")]
    pub rematched: u64,
}

/// The line of a note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteLine {
    pub(super) recording: Note,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
