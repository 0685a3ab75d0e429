//! The command line: one file for each subcommand.
//!
//! A subcommand is a `clap::Args` type with `run(self) -> ExitCode`; adding one takes its module here, a variant of
//! [`Command`] and its line in [`Command::run`].

mod admin;
mod ask;
#[cfg(feature = "bench")]
mod bench;
mod check;
mod descriptor;
mod dial;
mod generated;
mod health;
mod init;
mod ratelimit;
mod serve;
mod simulate;
mod store;
mod table;
mod target;
mod token;
mod trace;
mod version;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A rate-limit decision service for Envoy (RLS v3) and any gRPC client, with its counters in memory.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the rate limit service
    ///
    /// Example: tidegate serve rules.yaml
    Serve(Box<crate::settings::Settings>),
    /// Send one check to a running service, and print the answer
    ///
    /// Example: tidegate ask --domain api --descriptor partner=acme,endpoint=/pay
    ///
    /// Exit status: 0 for OK, 1 for OVER_LIMIT, 2 without an answer.
    Ask(ask::Ask),
    /// Validate a configuration: print every error with its location, or a summary of the rules
    ///
    /// Example: tidegate check --strict rules/
    ///
    /// With --data-dir the settings that operators have stored lie over the rules, and are marked: what the server would have in force.
    ///
    /// Exit status: 0 if the configuration loads, 1 if it does not; with --strict, 1 also for a warning.
    Check(check::CheckArgs),
    /// Replay a recorded trace against a configuration, on a virtual clock
    ///
    /// Reads one check per line (JSON) and writes one decision per line, with the code that serves. Example of a line:
    /// `{"at": 0.2, "domain": "api", "descriptors": [{"entries": [["partner", "acme"]]}]}`
    ///
    /// Bodies of /json are accepted as lines, too. `at` is optional in them: without it, a check comes at the time of the
    /// line before, the first one at 0.
    ///
    /// Example: tidegate simulate rules.yaml --trace trace.jsonl --summary
    ///
    /// Exit status: 0, or 1 if the configuration or a line cannot be read.
    Simulate(simulate::Simulate),
    /// Load-test a service: throughput, latency percentiles, CPU per request
    ///
    /// Works with any server of Envoy's rate limit service, version 3. A closed loop (the default) measures the maximum
    /// throughput: each answer is followed by the next check. An open loop (--rate) measures the latency at a given rate:
    /// checks are sent on schedule, however late the answers are, and latency counts from the scheduled time, so that a
    /// pause of the server is not hidden (no coordinated omission).
    #[cfg(feature = "bench")]
    #[command(after_long_help = bench::EXAMPLES)]
    Bench(Box<bench::Bench>),
    /// Write a commented configuration to begin with
    ///
    /// Example: tidegate init per-partner --out rules.yaml
    ///
    /// Exit status: 0, or 1 if the file exists or cannot be written.
    Init(init::Init),
    /// Ask a running service whether it is serving, as a probe without a shell
    ///
    /// Example: tidegate health --addr unix:/run/tidegate/grpc.sock
    ///
    /// Exit status: 0 for SERVING, 1 for anything else.
    Health(health::Health),
    /// Print the version, the commit, and how the program was built
    ///
    /// Example: tidegate version --json
    Version(version::Version),
    /// Print the completions of a shell
    ///
    /// Example: tidegate completions bash > /etc/bash_completion.d/tidegate
    Completions(generated::Completions),
    /// Write the manual pages
    ///
    /// Example: tidegate man --out /usr/local/share/man/man1
    Man(generated::Man),
    /// Examine the store of shared counters
    Store(store::Store),
    /// Make tokens for the admin port
    Token(token::Token),
    /// Make traces
    Trace(trace::Trace),
    #[command(flatten)]
    Admin(Box<admin::AdminCommand>),
}

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Self::Serve(settings) => serve::run(&settings, None),
            Self::Ask(ask) => ask.run(),
            Self::Check(check) => check::run(&check),
            Self::Simulate(simulate) => simulate.run(),
            #[cfg(feature = "bench")]
            Self::Bench(bench) => bench.run(),
            Self::Init(init) => init.run(),
            Self::Health(health) => health.run(),
            Self::Version(version) => version.run(),
            Self::Completions(completions) => completions.run(),
            Self::Man(man) => man.run(),
            Self::Store(store) => store.run(),
            Self::Token(token) => token.run(),
            Self::Trace(trace) => trace.run(),
            Self::Admin(command) => command.run(),
        }
    }
}

/// Runs the command line. Exit status 2: the command line is not valid.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match ratelimit::prepare(&arguments, std::env::vars_os()) {
        None => run(&arguments),
        Some(Ok(prepared)) => run_in_place_of_reference(prepared),
        Some(Err(error)) => serve::fail_to_start(&error),
    }
}

/// Runs the command line in `ratelimit` mode. Exit status 1: a variable cannot be used.
fn run_in_place_of_reference(prepared: ratelimit::Prepared) -> ExitCode {
    let ratelimit::Prepared { arguments, reference, notes } = prepared;
    match Cli::try_parse_from(arguments) {
        Ok(Cli { command: Command::Serve(mut settings) }) => {
            settings.reference = reference;
            serve::run(&settings, Some(&notes))
        }
        Ok(cli) => cli.command.run(),
        Err(error) if error.use_stderr() => serve::fail_to_start(&serve::one_line(&error)),
        Err(error) => error.exit(),
    }
}

fn run(arguments: &[OsString]) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command.run(),
        Err(error) => {
            let arguments = arguments.get(1..).unwrap_or_default();
            let format = std::env::var_os("TIDEGATE_LOG_FORMAT");
            if !error.use_stderr() || !serve::wants_json(arguments, format.as_deref()) {
                error.exit();
            }
            serve::fail_to_parse(&error);
            ExitCode::from(WRONG_COMMAND_LINE)
        }
    }
}

/// The exit status that clap uses.
const WRONG_COMMAND_LINE: u8 = 2;

/// Writes a line to standard output; a closed output (`| head`) is not an error.
fn print(line: &str) {
    let _gone = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line to standard error.
fn complain(line: &str) {
    let _gone = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_each_command_for_operators_has_an_example_and_the_exit_status() {
        fn check(command: &clap::Command, name: &str, checked: &mut usize) {
            if command.has_subcommands() {
                let below = command.get_subcommands().filter(|below| below.get_name() != "help");
                return below.for_each(|below| check(below, &format!("{name} {}", below.get_name()), checked));
            }
            let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("Example: tidegate{name}")), "{name}: {help}");
            assert!(help.contains("Exit status: 0"), "{name}: {help}");
            *checked += 1;
        }
        let mut checked = 0;
        check(&admin::AdminCommand::augment_subcommands(clap::Command::new("tidegate")), "", &mut checked);
        assert_eq!(checked, 21);
    }

    #[test]
    fn every_flag_of_serve_has_its_variable_and_its_help() {
        let cli = Cli::command();
        let serve = cli.find_subcommand("serve").unwrap();
        let is_ours =
            |flag: &&clap::Arg| flag.get_id() != "help" && flag.get_id() != "version" && !flag.is_positional();
        for flag in serve.get_arguments().filter(is_ours) {
            let name = flag.get_long().unwrap();
            let variable = format!("TIDEGATE_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env().and_then(std::ffi::OsStr::to_str), Some(variable.as_str()), "--{name}");
            assert!(flag.get_help().is_some(), "--{name}");
        }
    }
}
