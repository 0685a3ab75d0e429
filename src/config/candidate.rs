//! A second configuration, next to the one in force.

use std::sync::Arc;

use crate::rules::{RuleSet, SourceFile};
use crate::units::Timestamp;

/// The candidates of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct CandidateState {
    /// It decides too, next to the rules in force.
    pub(crate) running: Option<CandidateRules>,
    /// It is in force, in memory: the source of the configuration has another content.
    pub(crate) promoted: Option<CandidateRules>,
}

/// The rules of a candidate.
#[derive(Clone, Debug)]
pub(crate) struct CandidateRules {
    /// The names of its files.
    pub(crate) files: Vec<String>,
    /// The rules.
    pub(crate) rules: Arc<RuleSet>,
    /// What they were read from.
    pub(crate) source: Arc<CandidateSource>,
    /// When it was started, or promoted.
    pub(crate) since: Timestamp,
}

/// What the rules of a candidate are read from, for replicas that are to have them too.
#[derive(Debug)]
pub(crate) struct CandidateSource {
    /// The files.
    pub(crate) files: Vec<SourceFile>,
    /// Several files may define parts of one domain.
    pub(crate) merge_domains: bool,
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
