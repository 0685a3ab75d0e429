//! The control plane in a snapshot of the metrics.

use crate::units::Nanos;

/// The control plane that sends the rules.
#[derive(Clone, Debug, Default)]
pub struct XdsValues {
    /// Whether there is a stream.
    pub connected: bool,
    /// Streams that began.
    pub streams: u64,
    /// Streams that ended, and connections that could not be made.
    pub failures: u64,
    /// Sets that were accepted.
    pub acks: u64,
    /// Sets that were rejected, in whole or in part.
    pub nacks: u64,
    /// Domains that keep rules from before, because those of the last set have errors.
    pub outdated: u64,
    /// Domains with errors that have no rules from before.
    pub missing: u64,
    /// The version of the last set, and its age; `None`: none was received.
    pub set: Option<(String, Nanos)>,
}
