//! The candidate configuration.

use std::collections::HashSet;

use tonic::Status;

use crate::admin::within::Within;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::proto::tidegate::v1::candidate_status::State;
use crate::api::usage::{entries, time};
use crate::config::{CandidateRules, CandidateState};
use crate::limiter::Comparison;
use crate::operations::{Author, CandidateFailure, CandidateReport, Operations};
use crate::rules::{LoadOptions, RuleSet, SourceFile};
use crate::sanitize::sanitize;

pub(super) fn start(
    operations: &Operations,
    request: proto::StartCandidateRequest,
    author: &Author,
) -> Result<proto::CandidateStatus, Status> {
    let bytes: usize = request.files.iter().map(|file| file.content.len()).sum();
    if request.files.is_empty() || bytes > MAX_FILE_BYTES {
        return Err(Status::invalid_argument("files: give the files of a configuration, at most 4 MiB in all"));
    }
    if request.files.len() > MAX_FILES || request.files.iter().any(|file| file.name.len() > MAX_NAME_BYTES) {
        return Err(Status::invalid_argument(format!(
            "files: at most {MAX_FILES} files, with names of at most {MAX_NAME_BYTES} bytes, are possible"
        )));
    }
    let files: Vec<_> =
        request.files.into_iter().map(|file| SourceFile { name: file.name, text: file.content }).collect();
    let options = LoadOptions { merge_domains: request.merge_domains, ..LoadOptions::default() };
    operations.start_candidate(files, options, author).map(write).map_err(|error| status_of(&error))
}

pub(super) fn status(operations: &Operations) -> proto::CandidateStatus {
    noting_others(write(operations.candidate()), operations)
}

/// With a word about other replicas, if there are any that may have a promoted candidate.
fn noting_others(status: proto::CandidateStatus, operations: &Operations) -> proto::CandidateStatus {
    if status.state != i32::from(State::Promoted) || operations.shared_status().is_none() {
        return status;
    }
    let note = "in force, in memory, on all replicas: make the same change in the configuration, because its next change replaces this \
                one on each replica that loads it. A replica that starts with the configuration of now puts it in force too; SIGHUP undoes \
                it for all";
    proto::CandidateStatus { note: note.to_owned(), ..status }
}

/// What a caller may see of a candidate: the rules and counters of its domains, and no sum over others.
pub(super) fn seen(status: proto::CandidateStatus, within: &Within) -> proto::CandidateStatus {
    if within.is_everywhere() {
        return status;
    }
    let proto::CandidateStatus { state, since, mut rules, mut counters, .. } = status;
    rules.retain(|rule| within.sees_rule(&rule.rule));
    counters.retain(|counter| within.sees_rule(&counter.rule));
    let note = "only rules in force of the domains of this token are listed".to_owned();
    proto::CandidateStatus { state, since, rules, counters, note, ..proto::CandidateStatus::default() }
}

pub(super) fn promote(operations: &Operations, author: &Author) -> Result<proto::CandidateStatus, Status> {
    let (report, warning) = operations.promote_candidate(author).map_err(|error| status_of(&error))?;
    let status = noting_others(write(report), operations);
    Ok(proto::CandidateStatus { warning: warning.unwrap_or_default(), ..status })
}

pub(super) fn stop(operations: &Operations, author: &Author) -> Result<proto::CandidateStatus, Status> {
    let report = operations.stop_candidate(author).map_err(|error| status_of(&error))?;
    let note = "stopped: it no longer decides; this is its last comparison".to_owned();
    let note = noted(note, report.state.promoted.as_ref());
    Ok(proto::CandidateStatus { state: State::Stopped.into(), note, ..write(report) })
}

fn write(report: CandidateReport) -> proto::CandidateStatus {
    let CandidateReport { state, comparison, in_force } = report;
    match state {
        CandidateState { running: None, promoted: None } => proto::CandidateStatus {
            state: State::None.into(),
            note: "start one with `tidegate candidate start FILE`".to_owned(),
            ..proto::CandidateStatus::default()
        },
        CandidateState { running: None, promoted: Some(candidate) } => proto::CandidateStatus {
            state: State::Promoted.into(),
            note: "in force, in memory: make the same change in the configuration, because its next change replaces this one, \
                   and so does a restart"
                .to_owned(),
            ..about(candidate)
        },
        CandidateState { running: Some(candidate), promoted } => {
            let in_candidate = paths(&candidate.rules);
            let in_force = in_force.as_deref().map(paths).unwrap_or_default();
            let compared = comparison.map(|comparison| compared(comparison, &in_force, &in_candidate));
            let status = merged(about(candidate.clone()), compared);
            let note = noted(status.note, promoted.as_ref());
            proto::CandidateStatus { state: State::Running.into(), note, ..status }
        }
    }
}

/// The note, with a word about rules in force that are not those of the files.
fn noted(note: String, promoted: Option<&CandidateRules>) -> String {
    let Some(promoted) = promoted else { return note };
    let files = promoted.files.iter().take(MAX_SHOWN).map(|file| sanitize(file)).collect::<Vec<_>>().join(" ");
    format!("{note}; the rules in force are a promoted candidate ({files}), not the configuration")
}

fn about(candidate: CandidateRules) -> proto::CandidateStatus {
    proto::CandidateStatus {
        since: Some(time(candidate.since)),
        files: candidate.files,
        ..proto::CandidateStatus::default()
    }
}

fn paths(rules: &RuleSet) -> HashSet<&str> {
    rules.rules().iter().map(|rule| &*rule.path).collect()
}

fn merged(about: proto::CandidateStatus, compared: Option<proto::CandidateStatus>) -> proto::CandidateStatus {
    let compared = compared.unwrap_or_default();
    proto::CandidateStatus { since: about.since, files: about.files, ..compared }
}

fn compared(comparison: Comparison, in_force: &HashSet<&str>, in_candidate: &HashSet<&str>) -> proto::CandidateStatus {
    let occupancy = comparison.occupancy;
    let mut note = "decides all checks too, without an effect on any answer".to_owned();
    if occupancy.no_room > 0 {
        note = format!(
            "{note}; its memory is used up: {} checks were admitted uncounted, so that the comparison is too mild",
            occupancy.no_room
        );
    }
    let mut missing: Vec<_> = in_force.difference(in_candidate).copied().collect();
    missing.sort_unstable();
    if let [first, ..] = &*missing {
        note = format!(
            "{note}; {} rule{} in force {} not in the candidate, such as {}",
            missing.len(),
            if missing.len() == 1 { "" } else { "s" },
            if missing.len() == 1 { "is" } else { "are" },
            sanitize(first)
        );
    }
    let (shown, hidden) = (comparison.rules.len().min(MAX_RULES), comparison.rules.len().saturating_sub(MAX_RULES));
    if hidden > 0 {
        note = format!("{note}; {shown} rules are listed, and {hidden} that differ less are not");
    }
    let rules = comparison.rules.into_iter().take(MAX_RULES).map(|(path, difference)| proto::CandidateRule {
        in_force: in_force.contains(&*path),
        in_candidate: in_candidate.contains(&*path),
        rule: path,
        checks: difference.checks,
        denied_in_force: difference.denied_in_force,
        denied_by_candidate: difference.denied_by_candidate,
        only_in_force: difference.only_in_force,
        only_candidate: difference.only_candidate,
    });
    let counters = comparison.counters.into_iter().map(|((rule, pairs), difference)| proto::CandidateCounter {
        rule,
        entries: entries(&pairs),
        only_in_force: difference.only_in_force,
        only_candidate: difference.only_candidate,
    });
    proto::CandidateStatus {
        note,
        rules: rules.collect(),
        counters: counters.collect(),
        counter_bytes: occupancy.bytes as u64,
        budget_bytes: occupancy.budget_bytes as u64,
        checks: comparison.checks,
        differing_checks: comparison.differing,
        ..proto::CandidateStatus::default()
    }
}

fn status_of(error: &CandidateFailure) -> Status {
    match error {
        CandidateFailure::Bad(error) => Status::invalid_argument(error.to_string()),
        CandidateFailure::State(error) => Status::failed_precondition(error.to_string()),
    }
}

/// The files of a candidate: more than 50,000 rules.
const MAX_FILE_BYTES: usize = 4 << 20;
/// More than a directory of rules usually has.
const MAX_FILES: usize = 1_000;
/// The longest path on Linux.
const MAX_NAME_BYTES: usize = 4_096;
/// Files that a note names.
const MAX_SHOWN: usize = 5;
/// Rules that are listed.
const MAX_RULES: usize = 1_000;
