//! The comparison of a candidate with the configuration in force, in words.

use crate::api::proto::tidegate::v1::candidate_status::State;
use crate::api::proto::tidegate::v1::{CandidateCounter, CandidateRule, CandidateStatus};
use crate::cli::admin::render::{counted, entries};
use crate::cli::admin::time::instant_from;
use crate::cli::table::{Align, Table, paragraph};
use crate::units::Timestamp;

/// The state, what it means, a table of the rules, and the counters that differ most.
pub(super) fn render(status: &CandidateStatus, now: Timestamp) -> String {
    let mut lines = vec![paragraph(0, &title(status, now))];
    lines.extend(Some(&status.note).filter(|note| !note.is_empty()).map(|note| paragraph(2, note)));
    if status.checks > 0 || status.counter_bytes > 0 {
        lines.push(paragraph(2, &totals(status)));
    }
    if !status.rules.is_empty() {
        lines.push(format!("\n{}", rules(&status.rules)));
    }
    if !status.counters.is_empty() {
        lines.push(format!("\n{}", counters(&status.counters)));
    }
    lines.join("\n")
}

fn title(status: &CandidateStatus, now: Timestamp) -> String {
    let state = match status.state() {
        State::None | State::Unspecified => return "no candidate".to_owned(),
        State::Running => "runs",
        State::Promoted => "is in force",
        State::Stopped => "is stopped",
    };
    let began = if status.state() == State::Stopped { "; it ran since" } else { " since" };
    let since = status.since.as_ref().map(|since| format!("{began} {}", instant_from(since, now))).unwrap_or_default();
    let files = if status.files.is_empty() { String::new() } else { format!(": {}", status.files.join(", ")) };
    format!("the candidate {state}{since}{files}")
}

fn totals(status: &CandidateStatus) -> String {
    let (checks, differing) = (counted(status.checks, "check"), status.differing_checks);
    let (used, budget) = (kibibytes(status.counter_bytes), kibibytes(status.budget_bytes));
    format!("{checks}, {differing} denied by only one of the two; counters: {used} of {budget} KiB")
}

fn kibibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 10)
}

fn rules(rules: &[CandidateRule]) -> String {
    let right = Align::Right;
    let mut table = Table::new(&[
        ("rule", Align::Left),
        ("in", Align::Left),
        ("checks", right),
        ("denied now", right),
        ("by candidate", right),
        ("only now", right),
        ("only candidate", right),
    ]);
    for rule in rules {
        let place = match (rule.in_force, rule.in_candidate) {
            (true, true) => "both",
            (true, false) => "force",
            (false, true) => "candidate",
            (false, false) => "-",
        };
        let counts =
            [rule.checks, rule.denied_in_force, rule.denied_by_candidate, rule.only_in_force, rule.only_candidate];
        table.row([rule.rule.clone(), place.to_owned()].into_iter().chain(counts.map(|count| count.to_string())));
    }
    table.to_string()
}

fn counters(counters: &[CandidateCounter]) -> String {
    let (left, right) = (Align::Left, Align::Right);
    let mut table =
        Table::new(&[("rule", left), ("entries", left), ("denied only now", right), ("only by candidate", right)])
            .repeating_cut();
    for CandidateCounter { rule, entries: of, only_in_force, only_candidate } in counters {
        table.row([rule.clone(), entries(of), only_in_force.to_string(), only_candidate.to_string()]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::tidegate::v1::Entry;
    use crate::cli::table::WIDTH;

    const NOW: Timestamp = Timestamp::from_ns(1_795_665_600_000_000_000);

    fn rule(name: &str, counts: [u64; 5]) -> CandidateRule {
        let [checks, denied_in_force, denied_by_candidate, only_in_force, only_candidate] = counts;
        CandidateRule {
            rule: name.into(),
            in_force: true,
            in_candidate: true,
            checks,
            denied_in_force,
            denied_by_candidate,
            only_in_force,
            only_candidate,
        }
    }

    fn running() -> CandidateStatus {
        let alice = Entry { key: "user".into(), value: "alice".into() };
        CandidateStatus {
            state: State::Running.into(),
            since: Some(prost_types::Timestamp { seconds: 1_795_665_420, nanos: 0 }),
            files: vec!["next.yaml".into(), "more.yaml".into()],
            note: "No answer is changed.".into(),
            rules: vec![
                rule("api.user", [1_000, 10, 25, 0, 15]),
                CandidateRule { in_candidate: false, ..rule("api.old", [7, 0, 0, 0, 0]) },
                CandidateRule { in_force: false, ..rule("api.new", [7, 0, 0, 0, 0]) },
            ],
            counters: vec![CandidateCounter {
                rule: "api.user".into(),
                entries: vec![alice],
                only_in_force: 0,
                only_candidate: 15,
            }],
            counter_bytes: 1_500_000,
            budget_bytes: 64 << 20,
            checks: 1_014,
            differing_checks: 15,
            warning: String::new(),
        }
    }

    #[test]
    fn statuses() {
        let none = CandidateStatus { state: State::None.into(), ..CandidateStatus::default() };
        let since = running().since;
        let promoted = CandidateStatus {
            state: State::Promoted.into(),
            since,
            note: "The file has another content.".into(),
            ..CandidateStatus::default()
        };
        let cases = [
            (none, "no candidate"),
            (
                promoted,
                "\
the candidate is in force since 2026-11-26T03:57:00Z (3m ago)
  The file has another content.",
            ),
            (
                CandidateStatus { state: State::Stopped.into(), ..CandidateStatus::default() },
                "the candidate is stopped",
            ),
            (
                running(),
                "\
the candidate runs since 2026-11-26T03:57:00Z (3m ago): next.yaml, more.yaml
  No answer is changed.
  1014 checks, 15 denied by only one of the two; counters: 1465 of 65536 KiB

rule      in         checks  denied now  by candidate  only now  only candidate
api.user  both         1000          10            25         0              15
api.old   force           7           0             0         0               0
api.new   candidate       7           0             0         0               0

rule      entries     denied only now  only by candidate
api.user  user=alice                0                 15",
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(render(&status, NOW), expected);
        }
    }

    #[test]
    fn long_and_hostile_values_fit() {
        let hostile = "x\x1b[2J\u{202e}".repeat(500);
        let mut status = running();
        status.files = vec![hostile.clone(); 100];
        status.note = hostile.clone();
        status.rules = vec![rule(&hostile, [u64::MAX; 5])];
        status.counters = vec![CandidateCounter {
            rule: hostile.clone(),
            entries: vec![Entry { key: hostile.clone(), value: hostile }],
            only_in_force: u64::MAX,
            only_candidate: u64::MAX,
        }];
        let text = render(&status, NOW);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    }
}
