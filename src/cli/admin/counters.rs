//! `tidegate counters`: looks into counters, resets them, and bans.

mod list;

use clap::{Args, Subcommand};
use prost_types::Duration;

pub(super) use list::merge;

use super::connection::{Client, Connection, Outcome};
use super::render::{counted, entries};
use super::time::{instant_from, parse_length};
use crate::api::proto::tidegate::v1::{
    BanCounterRequest, BanCounterResponse, Entry, ResetCountersRequest, ResetCountersResponse, UnbanCountersRequest,
    UnbanCountersResponse,
};
use crate::cli::descriptor::parse_entry;
use crate::cli::table::paragraph;
use crate::units::Timestamp;

/// `tidegate counters COMMAND`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CountersCommand {
    /// List counters, the most used first
    ///
    /// The server searches its counters a part at a time, while checks are decided: a list of many counters is not a snapshot.
    ///
    /// Example: tidegate counters list --rule api.user --denied --top 10
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    List(list::List),
    /// Make the counters of a rule fresh, and lift their bans
    ///
    /// Counters that replicas share are made fresh on the store, so for all of them.
    ///
    /// Example: tidegate counters reset --rule api.user --entry user=alice
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Reset(OfRule),
    /// Ban a counter: each of its checks is denied until the ban ends
    ///
    /// Example: tidegate counters ban --rule api.user --entry user=mallory --for 10m --reason abuse
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Ban(Ban),
    /// Lift the bans of counters, which are fresh then
    ///
    /// Example: tidegate counters unban --rule api.user --entry user=mallory
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Unban(OfRule),
}

/// Counters of a rule: the arguments of `reset` and `unban`.
#[derive(Args, Debug)]
pub(in crate::cli) struct OfRule {
    /// The rule, by its path as /rlconfig shows it
    #[arg(long, value_name = "PATH", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    rule: String,

    /// Only counters with this entry; repeat the flag for more entries
    #[arg(long = "entry", value_name = "KEY=VALUE", value_parser = parse_entry)]
    entries: Vec<Entry>,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    connection: Connection,
}

/// `tidegate counters ban`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Ban {
    /// The rule, by its path as /rlconfig shows it
    #[arg(long, value_name = "PATH", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    rule: String,

    /// The entry of each level of the rule that is not a fixed value; repeat the flag for more entries
    #[arg(long = "entry", value_name = "KEY=VALUE", value_parser = parse_entry)]
    entries: Vec<Entry>,

    /// How long, such as 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_length)]
    length: Duration,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    connection: Connection,
}

impl CountersCommand {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::List(command) => command.outcome(),
            Self::Reset(command) => command.reset(),
            Self::Ban(command) => command.outcome(),
            Self::Unban(command) => command.unban(),
        }
    }
}

impl OfRule {
    fn reset(self) -> Outcome {
        let Self { rule, entries, reason, connection } = self;
        let request = ResetCountersRequest { rule, entries, reason };
        let call = async |client: &mut Client| client.reset_counters(request).await;
        let text = |answer: &ResetCountersResponse, _| format!("reset {}", counted(answer.reset, "counter"));
        connection.change("ResetCountersResponse", call, text, |answer| &answer.warning)
    }

    fn unban(self) -> Outcome {
        let Self { rule, entries, reason, connection } = self;
        let request = UnbanCountersRequest { rule, entries, reason };
        let call = async |client: &mut Client| client.unban_counters(request).await;
        let text =
            |answer: &UnbanCountersResponse, _| format!("lifted the ban of {}", counted(answer.unbanned, "counter"));
        connection.change("UnbanCountersResponse", call, text, |answer| &answer.warning)
    }
}

impl Ban {
    fn outcome(self) -> Outcome {
        let Self { rule, entries, length, reason, connection } = self;
        let request = BanCounterRequest { rule, entries, r#for: Some(length), reason };
        let asked = request.clone();
        let call = async |client: &mut Client| client.ban_counter(request).await;
        let text = |answer: &BanCounterResponse, now| banned(&asked, answer, now);
        connection.change("BanCounterResponse", call, text, |answer| &answer.warning)
    }
}

fn banned(asked: &BanCounterRequest, answer: &BanCounterResponse, now: Timestamp) -> String {
    let until = answer.until.as_ref().map(|until| format!(" until {}", instant_from(until, now))).unwrap_or_default();
    paragraph(0, &format!("banned {} of rule {}{until}", entries(&asked.entries), asked.rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_says_whom_and_until_when() {
        let asked = BanCounterRequest {
            rule: "api.user".into(),
            entries: vec![Entry { key: "user".into(), value: "mallory\x07".into() }],
            ..BanCounterRequest::default()
        };
        let now = Timestamp::from_ns(1_795_665_600_000_000_000);
        let until = |seconds| BanCounterResponse {
            until: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        };
        let cases = [
            (until(1_795_666_200), r"banned user=mallory\u{7} of rule api.user until 2026-11-26T04:10:00Z (in 10m)"),
            (BanCounterResponse::default(), r"banned user=mallory\u{7} of rule api.user"),
        ];
        for (answer, expected) in cases {
            assert_eq!(banned(&asked, &answer, now), expected);
        }
    }
}
