//! Commands for operators: thin clients of `tidegate.v1.AdminService` and `UsageService`, a file for each group of commands.
//!
//! A command makes its request from the arguments, and a pure function renders the answer. Exit status: 0 done, 1 for an error
//! from the server, 2 for a wrong command line or no connection.

mod audit;
mod candidate;
mod connection;
mod counters;
mod denials;
mod explain;
mod limits;
mod progress;
mod record;
mod render;
mod scope_filter;
mod settings;
mod stream;
mod suggest;
#[cfg(test)]
mod tests;
mod time;
mod top;
mod usage;
mod usage_selection;
mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use connection::{Outcome, finish};

/// The commands for operators.
#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Show and change limits at run time, without a change of the rules files
    #[command(subcommand)]
    Settings(settings::SettingsCommand),
    /// List the changes that operators made, the latest first
    ///
    /// Example: tidegate audit --since 24h
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Audit(audit::Audit),
    /// Look into counters, reset them, and ban
    #[command(subcommand)]
    Counters(counters::CountersCommand),
    /// Explain what a check would get, and why; charges nothing
    ///
    /// Example: tidegate explain --domain api --descriptor partner=acme,endpoint=/pay
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Explain(explain::Explain),
    /// List in sentences every limit that applies to a caller
    ///
    /// Example: tidegate limits --domain api --entry partner=acme
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Limits(limits::Limits),
    /// Try a second configuration on live checks, without an effect on answers
    #[command(subcommand)]
    Candidate(candidate::CandidateCommand),
    /// Watch what each rule counts, live: requests, denials, rates
    ///
    /// It goes on when the connection is lost or the server is started again, and says so.
    ///
    /// Example: tidegate watch --denied
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a first connection or for a wrong command line.
    #[command(after_long_help = watch::EXAMPLES)]
    Watch(watch::Watch),
    /// List denied requests: when, who, which limit, until when
    ///
    /// Without --follow the recent ones that the server still has. It keeps some only while something reads them (--denial-log, an
    /// alert, another observer), otherwise none.
    ///
    /// Example: tidegate denials --follow
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a first connection or for a wrong command line.
    #[command(after_long_help = denials::EXAMPLES)]
    Denials(denials::Denials),
    /// Count requests and denied requests between two dates, by rule or by the values of an entry
    ///
    /// Example: tidegate usage --by user --denied --from yesterday
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    #[command(after_long_help = usage::EXAMPLES)]
    Usage(usage::Usage),
    /// Record live checks as a trace for simulate and suggest
    ///
    /// Nothing is restarted, and no check is delayed: what does not fit is lost, and counted. The trace has everything that
    /// decides a check, and so personal data; --hash-values replaces what the rules do not name. Each recording is in the audit
    /// log.
    ///
    /// Example: tidegate record --out trace.jsonl --duration 10m --domain api
    ///
    /// Example: tidegate record --out trace.jsonl --sample 1/100 --sample-by user --hash-values
    ///
    /// Then: tidegate simulate rules.yaml --trace trace.jsonl --summary
    ///
    /// Exit status: 0 done, also after Ctrl-C; 1 for an error from the server or a recording that ended early, whose trace can be
    /// read; 2 without a connection or for a wrong command line.
    Record(Box<record::Record>),
    /// Suggest limits from what came: as many as would have denied 0 %, 0.1 % and 1 % of the requests
    ///
    /// Prints a rules file with the numbers, and in comments what they are based on. With --trace the numbers are exact. Without
    /// it they are from the history of a running server, or of a --data-dir: from sums per minute, hour and day, which leave
    /// open when in it the requests came. Then the number is one that would certainly not have denied more, and a comment says
    /// from which on it might be enough.
    ///
    /// Example: tidegate suggest rules.yaml --trace trace.jsonl > suggested.yaml
    ///
    /// Example: tidegate suggest rules.yaml --since 24h --deny 0.1%
    ///
    /// Example: tidegate suggest --data-dir /var/lib/tidegate --domain api
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection, for files that cannot be read, or for a wrong
    /// command line.
    Suggest(Box<suggest::Suggest>),
    /// Watch a server on the whole terminal: who is busy, who is denied, what is full; and act on it
    ///
    /// Domains, rules, values and counters with their rates, bans and denied checks as they come. Press ? for the keys.
    ///
    /// Example: tidegate top --admin-addr http://127.0.0.1:8082
    ///
    /// Exit status: 0 closed by a key, 1 for an error from the server at the start, 2 without a connection or terminal, or for a
    /// wrong command line, 143 ended by SIGTERM.
    #[command(mut_arg("json", |json| json.hide(true)))]
    Top(top::Top),
}

impl AdminCommand {
    /// Asks the server and prints its answer, or shows its view until that is closed.
    pub(super) fn run(self) -> ExitCode {
        self.outcome().map_or_else(|code| code, finish)
    }

    /// What it has come to; of a view, which says all that there is to say itself, the exit status.
    fn outcome(self) -> Result<Outcome, ExitCode> {
        Ok(match self {
            Self::Settings(command) => command.outcome(),
            Self::Audit(command) => command.outcome(),
            Self::Counters(command) => command.outcome(),
            Self::Explain(command) => command.outcome(),
            Self::Limits(command) => command.outcome(),
            Self::Candidate(command) => command.outcome(),
            Self::Watch(command) => command.outcome(),
            Self::Denials(command) => command.outcome(),
            Self::Usage(command) => command.outcome(),
            Self::Record(command) => command.outcome(),
            Self::Suggest(command) => command.outcome(),
            Self::Top(command) => return Err(command.run()),
        })
    }
}
