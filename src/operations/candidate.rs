//! The candidate configuration: started, compared, promoted, stopped.

use std::sync::Arc;

use super::counters::BadRequest;
use super::{Action, Author, Operations};
use crate::config::{CandidateError, CandidateRules, CandidateSource, CandidateState};
use crate::limiter::Comparison;
use crate::rules::{ConfigError, LoadOptions, RuleSet, SourceFile};
use crate::units::Timestamp;

/// Why a candidate was not started, promoted or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CandidateFailure {
    /// Its files have errors.
    #[error("{0}")]
    Bad(#[from] BadRequest),
    /// One runs, or none does.
    #[error(transparent)]
    State(#[from] CandidateError),
}

/// A candidate and its comparison with the rules in force.
#[derive(Debug)]
pub(crate) struct CandidateReport {
    /// What has become of it.
    pub(crate) state: CandidateState,
    /// The comparison, while it runs.
    pub(crate) comparison: Option<Comparison>,
    /// The rules in force.
    pub(crate) in_force: Option<Arc<RuleSet>>,
}

impl Operations {
    /// Starts a candidate with the configuration in these files. Of the options only `merge_domains` is the caller's; the others are those of the process,
    /// so that the candidate can be promoted.
    ///
    /// # Errors
    /// The files have errors, or a candidate runs.
    pub(crate) fn start_candidate(
        &self,
        files: Vec<SourceFile>,
        options: LoadOptions,
        author: &Author,
    ) -> Result<CandidateReport, CandidateFailure> {
        let options = LoadOptions { merge_domains: options.merge_domains, ..self.load_options };
        let rules = crate::rules::load(&files, options).map_err(|errors| BadRequest(listed(&errors)))?;
        let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
        let now = self.clock.now();
        let count = rules.rules().len();
        let source = Arc::new(CandidateSource { files, merge_domains: options.merge_domains });
        let candidate = CandidateRules { files: names, rules: Arc::new(rules), source, since: now };
        let first = || self.limiter.candidate().map(|running| running.comparison());
        let comparison = self.publisher.start_candidate(candidate.clone(), first)?;
        self.audit_candidate(
            now,
            Action::CandidateStart,
            &candidate.files,
            &format!("{count} rule{}", if count == 1 { "" } else { "s" }),
            author,
        );
        let in_force = self.publisher.read(|_, rules| rules.cloned());
        // Another operator may have stopped it meanwhile.
        let state = CandidateState { running: Some(candidate), ..self.publisher.candidate() };
        Ok(CandidateReport { state, comparison, in_force })
    }

    /// Compares the candidate with the rules in force.
    pub(crate) fn candidate(&self) -> CandidateReport {
        let state = self.publisher.candidate();
        let running = state.running.as_ref().and_then(|_| self.limiter.candidate());
        let comparison = running.map(|candidate| candidate.comparison());
        let in_force = self.publisher.read(|_, rules| rules.cloned());
        CandidateReport { state, comparison, in_force }
    }

    /// Puts the candidate in force, in memory. Returns what the operator should know, too.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn promote_candidate(
        &self,
        author: &Author,
    ) -> Result<(CandidateReport, Option<String>), CandidateFailure> {
        let mut changing = self.changing();
        let now = self.clock.now();
        let (loaded, candidate) = self.publisher.promote_candidate(now)?;
        let new = format!("configuration {} in force", loaded.generation);
        self.audit_candidate(now, Action::CandidatePromote, &candidate.files, &new, author);
        let warning = self.share_promotion(&candidate, author, now);
        self.has_promoted(changing.as_mut());
        let in_force = Some(Arc::clone(&candidate.rules));
        let state = CandidateState { running: None, promoted: Some(candidate) };
        Ok((CandidateReport { state, comparison: None, in_force }, warning))
    }

    /// Ends the candidate, and returns its last comparison.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn stop_candidate(&self, author: &Author) -> Result<CandidateReport, CandidateFailure> {
        let last = |candidate: &CandidateRules| {
            let comparison = self.limiter.candidate().map(|running| running.comparison());
            (candidate.clone(), comparison)
        };
        let (candidate, comparison) = self.publisher.stop_candidate(last)?;
        self.audit_candidate(self.clock.now(), Action::CandidateStop, &candidate.files, "", author);
        let in_force = self.publisher.read(|_, rules| rules.cloned());
        let state = CandidateState { running: Some(candidate), ..self.publisher.candidate() };
        Ok(CandidateReport { state, comparison, in_force })
    }

    pub(super) fn audit_candidate(
        &self,
        time: Timestamp,
        action: Action,
        files: &[String],
        new: &str,
        author: &Author,
    ) {
        // The candidate itself is not stored, so a line that is missing is no reason to warn.
        let _warning = self.record(author.entry_of(time, action, format!("candidate {}", files.join(" ")), ("", new)));
    }
}

/// The first errors of a configuration, each on a line.
fn listed(errors: &[ConfigError]) -> String {
    let mut lines: Vec<_> = errors.iter().take(MAX_ERRORS).map(ConfigError::to_string).collect();
    if errors.len() > MAX_ERRORS {
        lines.push(format!("and {} more errors", errors.len() - MAX_ERRORS));
    }
    lines.join("\n")
}

/// Errors that are listed: the status of a gRPC call is a header, which must stay small.
const MAX_ERRORS: usize = 20;
