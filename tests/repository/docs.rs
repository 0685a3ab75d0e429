//! Tables of the documentation that repeat what the code says are made from the code.
//!
//! `UPDATE_DOCS=1 cargo test --test repository` writes them again.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::{env, fs};

use clap::{Arg, Command, CommandFactory};
use tidegate::cli::Cli;
use tidegate::telemetry::names::{METRICS, MetricKind};

#[test]
fn the_metrics_are_those_of_the_code() {
    let mut table = "| metric | type | unit | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        writeln!(table, "| `{}` | {kind} | `{}` | {} |", metric.name, metric.unit, metric.help).unwrap();
    }
    holds("docs/OPERATIONS.md", "metrics", &table);
}

#[test]
fn the_flags_are_those_of_the_command_line() {
    let mut commands = Vec::new();
    add_commands(&Cli::command(), "", &mut commands);
    assert!(commands.iter().any(|(name, _)| name == "settings set"), "the commands of a command are missing");
    let mut connection = None;
    for (name, command) in &commands {
        let (of_connection, own): (Vec<_>, Vec<_>) =
            command.get_arguments().partition(|arg| arg.get_help_heading() == Some("Connection"));
        if !of_connection.is_empty() {
            let table = table(&of_connection);
            let rows = |table: &str| table.lines().map(str::to_owned).collect::<BTreeSet<_>>();
            let known = rows(connection.get_or_insert_with(|| table.clone()));
            // A command may show them in another order.
            assert_eq!(known, rows(&table), "the connection of {name}");
        }
        if !own.is_empty() {
            holds("docs/CLI.md", name, &table(&own));
        }
    }
    holds("docs/CLI.md", "connection", &connection.unwrap());
}

/// All commands that have no commands of their own, with their full names: `settings set`.
fn add_commands(command: &Command, name: &str, commands: &mut Vec<(String, Command)>) {
    for below in command.get_subcommands() {
        let name = format!("{name} {}", below.get_name()).trim().to_owned();
        if below.has_subcommands() {
            add_commands(below, &name, commands);
        } else {
            commands.push((name, below.clone()));
        }
    }
}

fn table(args: &[&Arg]) -> String {
    let mut table = "| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for arg in args {
        writeln!(table, "{}", row(arg)).unwrap();
    }
    table
}

fn row(arg: &Arg) -> String {
    let names = arg.get_value_names().filter(|_| arg.get_action().takes_values()).unwrap_or_default();
    let flag: Vec<_> = arg
        .get_long()
        .map(|long| format!("--{long}"))
        .into_iter()
        .chain(names.iter().map(ToString::to_string))
        .collect();
    let flag = flag.join(" ");
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match defaults.as_slice() {
        [] if arg.is_required_set() => "required".to_owned(),
        [] => String::new(),
        _ if !arg.get_action().takes_values() || arg.is_hide_default_value_set() => String::new(),
        some => format!("`{}`", some.join(" ")),
    };
    let words: Vec<_> = arg.get_possible_values().iter().map(|word| format!("`{}`", word.get_name())).collect();
    let choice = if words.is_empty() || !arg.get_action().takes_values() {
        String::new()
    } else {
        format!(" ({})", words.join(" or "))
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `{flag}` | {variable} | {default} | {}{choice} |", help.replace('|', "\\|").replace('*', "\\*"))
}

/// The block of that name in a file is `text`, or becomes it.
pub(crate) fn holds(file: &str, name: &str, text: &str) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(&path).unwrap();
    let (begin, end) =
        (format!("<!-- {name}: made by tests/repository/docs.rs -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("{file} has no line {begin:?}"));
    let (known, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{file} has no line {end:?}"));
    if known == text {
        return;
    }
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{text}{end}{after}")).unwrap();
        return;
    }
    let gone: Vec<_> = known.lines().filter(|line| !text.contains(line)).collect();
    let new: Vec<_> = text.lines().filter(|line| !known.contains(line)).collect();
    panic!(
        "{file} says of {name}, but the code does not:\n{}\nthe code says, but {file} does not:\n{}\n\
         `UPDATE_DOCS=1 cargo test --test repository` writes the table again",
        gone.join("\n"),
        new.join("\n"),
    );
}
