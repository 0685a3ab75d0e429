//! `tidegate audit`: the changes that operators made.

use clap::Args;
use prost_types::Duration;

use super::connection::{Connection, Outcome};
use super::scope_filter::ScopeFilter;
use super::time::{instant, parse_length};
use crate::api::proto::tidegate::v1::{AuditEntry, ListAuditRequest, ListAuditResponse};
use crate::cli::table::{Align, Table};

/// `tidegate audit`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Audit {
    /// Only changes within this time, such as 24h [default: all that are kept]
    #[arg(long, value_name = "DURATION", value_parser = parse_length)]
    since: Option<Duration>,

    #[command(flatten)]
    filter: ScopeFilter,

    #[command(flatten)]
    connection: Connection,
}

impl Audit {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        let ScopeFilter { rule, domain, entries } = self.filter;
        let (rule, domain) = (rule.unwrap_or_default(), domain.unwrap_or_default());
        let request = ListAuditRequest { since: self.since, limit: 0, rule, domain, entries };
        let call = async |client: &mut super::connection::Client| client.list_audit(request).await;
        self.connection.answer("ListAuditResponse", call, |answer, _| render(answer))
    }
}

fn render(ListAuditResponse { entries, dropped }: &ListAuditResponse) -> String {
    let left = Align::Left;
    let mut table = Table::new(&[("time", left), ("action", left), ("by", left), ("applies to", left)]).repeating_cut();
    for entry in entries {
        let AuditEntry { time, principal, action, scope, reason, .. } = entry;
        let time = time.as_ref().map(instant).unwrap_or_default();
        table.row([time, action.clone(), principal.clone(), scope.clone()]);
        // A cell of a table may be cut; values and reasons must not be.
        table.note(&change(entry));
        table.note(&if reason.is_empty() { String::new() } else { format!("reason: {reason}") });
    }
    let text = if entries.is_empty() { "no changes".to_owned() } else { table.to_string() };
    match dropped {
        0 => text,
        1 => format!("{text}\n1 earlier change is no longer kept"),
        _ => format!("{text}\n{dropped} earlier changes are no longer kept"),
    }
}

/// What was changed: `requests_per_unit 60 -> 1000`, or what came of it: `1 counter`.
fn change(AuditEntry { name, old, new, .. }: &AuditEntry) -> String {
    let values = if old.is_empty() { new.clone() } else { format!("{old} -> {new}") };
    format!("{name} {values}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::WIDTH;

    #[test]
    fn changes() {
        let text = |text: &str| text.to_owned();
        let entry = AuditEntry {
            time: Some(prost_types::Timestamp { seconds: 1_795_665_600, nanos: 5 }),
            principal: text("127.0.0.1:4711"),
            action: text("set"),
            scope: text("rule api.user"),
            name: text("requests_per_unit"),
            old: text("60"),
            new: text("1000"),
            reason: text("spring sale"),
            applies_to: None,
        };
        let reset = AuditEntry {
            action: text("reset"),
            new: text("1 counter"),
            name: String::new(),
            old: String::new(),
            reason: String::new(),
            ..entry.clone()
        };
        let stop = AuditEntry { action: text("candidate_stop"), scope: text("candidate"), ..AuditEntry::default() };
        let long = AuditEntry { scope: "x\x1b".repeat(200), reason: "why ".repeat(125), ..entry.clone() };
        let cases = [
            (vec![], 0, "no changes"),
            (vec![], 1, "no changes\n1 earlier change is no longer kept"),
            (
                vec![entry.clone(), reset, stop],
                7,
                "\
time                  action          by              applies to
2026-11-26T04:00:00Z  set             127.0.0.1:4711  rule api.user
    requests_per_unit 60 -> 1000
    reason: spring sale
2026-11-26T04:00:00Z  reset           127.0.0.1:4711  rule api.user
    1 counter
                      candidate_stop                  candidate
7 earlier changes are no longer kept",
            ),
        ];
        for (entries, dropped, expected) in cases {
            assert_eq!(render(&ListAuditResponse { entries, dropped }), expected);
        }
        let text = render(&ListAuditResponse { entries: vec![long], dropped: 0 });
        assert!(text.contains("\n    requests_per_unit 60 -> 1000\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH && !line.contains('\x1b')), "{text}");
    }
}
