//! Commands for operators: thin clients of `tidegate.v1.AdminService`, a file for each group of commands.
//!
//! A command makes its request from the arguments, and a pure function renders the answer. Exit status: 0 done, 1 for an error
//! from the server, 2 for a wrong command line or no connection.

mod audit;
mod candidate;
mod connection;
mod counters;
mod explain;
mod limits;
mod render;
mod scope_filter;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod top;

use std::process::ExitCode;

use clap::Subcommand;

use connection::finish;

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
        finish(match self {
            Self::Settings(command) => command.outcome(),
            Self::Audit(command) => command.outcome(),
            Self::Counters(command) => command.outcome(),
            Self::Explain(command) => command.outcome(),
            Self::Limits(command) => command.outcome(),
            Self::Candidate(command) => command.outcome(),
            Self::Top(command) => return command.run(),
        })
    }
}
