//! A second configuration, next to the one in force.

use std::sync::Arc;

use crate::rules::RuleSet;
use crate::units::Timestamp;

/// What has become of the last candidate.
#[derive(Clone, Debug, Default)]
pub(crate) enum CandidateState {
    /// There was none, or it was stopped.
    #[default]
    None,
    /// It decides too, next to the rules in force.
    Running(CandidateRules),
    /// It is in force, in memory: the source of the configuration has another content.
    Promoted(CandidateRules),
}

/// The rules of a candidate.
#[derive(Clone, Debug)]
pub(crate) struct CandidateRules {
    /// The names of its files.
    pub(crate) files: Vec<String>,
    /// The rules.
    pub(crate) rules: Arc<RuleSet>,
    /// When it was started, or promoted.
    pub(crate) since: Timestamp,
}

/// Why a candidate was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CandidateError {
    /// One runs.
    #[error("a candidate runs already: promote it or stop it first")]
    Running,
    /// None runs.
    #[error("no candidate runs: start one first")]
    NotRunning,
}
