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
mod render;
mod scope_filter;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod time;
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
}

impl AdminCommand {
    /// Asks the server and prints its answer.
    pub(super) fn run(self) -> ExitCode {
        finish(self.outcome())
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Settings(command) => command.outcome(),
            Self::Audit(command) => command.outcome(),
            Self::Counters(command) => command.outcome(),
            Self::Explain(command) => command.outcome(),
            Self::Limits(command) => command.outcome(),
            Self::Candidate(command) => command.outcome(),
            Self::Watch(command) => command.outcome(),
            Self::Denials(command) => command.outcome(),
            Self::Usage(command) => command.outcome(),
        }
    }
}
