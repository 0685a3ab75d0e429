//! Warns about variables that look like settings but are not: a misspelt one would silently leave its setting at the default.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::rules::VARIABLE_PREFIX;
use crate::sanitize::sanitize;

/// A warning for each environment variable that begins with `TIDEGATE_` and is not read. Values are not shown, because they
/// may be secret.
pub(super) fn warnings(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let known = known();
    let named = environment.map(|(name, value)| (lossy(&name), lossy(&value)));
    let unread = named
        .filter(|(name, value)| name.starts_with(PREFIX) && !known.contains(name) && !is_of_kubernetes(name, value));
    let mut unread: Vec<_> = unread.map(|(name, _)| name).collect();
    unread.sort();
    unread.iter().filter_map(|name| warning(name, &known)).take(MAX_WARNINGS).collect()
}

/// The variables of all subcommands, which may share an environment.
fn known() -> Vec<String> {
    fn add(command: &clap::Command, known: &mut Vec<String>) {
        let variables = command.get_arguments().filter_map(clap::Arg::get_env);
        known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|below| add(below, known));
    }
    let mut known = Vec::new();
    add(&Cli::command(), &mut known);
    known
}

/// Alerts may name any variable with their prefix, so with that prefix only names similar to a setting are reported.
fn warning(name: &str, known: &[String]) -> Option<String> {
    let distance = |known: &&String| strsim::osa_distance(name, known);
    let nearest = known.iter().min_by_key(distance).filter(|known| distance(known) <= MAX_DISTANCE);
    let name = sanitize(name);
    match nearest {
        Some(nearest) => Some(format!("the variable {name} is not a setting and is ignored; did you mean {nearest}?")),
        None if name.starts_with(VARIABLE_PREFIX) => None,
        None => Some(format!("the variable {name} is not a setting and is ignored (tidegate serve --help lists them)")),
    }
}

/// Whether Kubernetes sets the variable for a Service whose name begins with `tidegate`: `TIDEGATE_SERVICE_HOST`,
/// `TIDEGATE_SERVICE_PORT_GRPC`, `TIDEGATE_PORT=tcp://10.0.0.1:8081`, `TIDEGATE_ADMIN_PORT_8082_TCP_ADDR`.
/// Source: Kubernetes, "Discovering services: environment variables".
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_link = name.ends_with("_PORT") && value.contains("://");
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        number
            && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
            && parts.next().is_none_or(|what| ["PROTO", "PORT", "ADDR"].contains(&what))
            && parts.next().is_none()
    };
    is_link
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.match_indices("_PORT_").any(|(at, text)| name.get(at + text.len()..).is_some_and(is_port))
}

fn lossy(text: &OsString) -> String {
    text.to_string_lossy().into_owned()
}

const PREFIX: &str = "TIDEGATE_";
/// Two typing errors; with more it is a different word.
const MAX_DISTANCE: usize = 2;
/// More are probably the same mistake.
const MAX_WARNINGS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_reads_is_warned_about() {
        let meant = |name: &str, nearest: &str| {
            Some(format!("the variable {name} is not a setting and is ignored; did you mean {nearest}?"))
        };
        let cases: &[(&str, &str, Option<String>)] = &[
            ("TIDEGATE_CONFG", "/etc/rules", meant("TIDEGATE_CONFG", "TIDEGATE_CONFIG")),
            ("TIDEGATE_GRPC_ADRR", "x", meant("TIDEGATE_GRPC_ADRR", "TIDEGATE_GRPC_ADDR")),
            ("TIDEGATE_ALERT_WEBHOK", "x", meant("TIDEGATE_ALERT_WEBHOK", "TIDEGATE_ALERT_WEBHOOK")),
            (
                "TIDEGATE_LISTEN",
                "x",
                Some(
                    "the variable TIDEGATE_LISTEN is not a setting and is ignored (tidegate serve --help lists them)"
                        .into(),
                ),
            ),
            // Settings of serve and of other commands, and what alerts may name.
            ("TIDEGATE_CONFIG", "x", None),
            ("TIDEGATE_LOG_FORMAT", "json", None),
            ("TIDEGATE_TRACE", "x", None),
            ("TIDEGATE_ADMIN_URL", "x", None),
            ("TIDEGATE_ALERT_PAGER_TOKEN", "x", None),
            // Kubernetes' own.
            ("TIDEGATE_SERVICE_HOST", "10.0.0.1", None),
            ("TIDEGATE_SERVICE_PORT", "8081", None),
            ("TIDEGATE_SERVICE_PORT_GRPC", "8081", None),
            ("TIDEGATE_PORT", "tcp://10.0.0.1:8081", None),
            ("TIDEGATE_PORT_8081_TCP", "tcp://10.0.0.1:8081", None),
            ("TIDEGATE_PORT_8081_TCP_ADDR", "10.0.0.1", None),
            ("TIDEGATE_PORT_53_UDP_PROTO", "udp", None),
            ("TIDEGATE_ADMIN_PORT_8082_TCP_PORT", "8082", None),
            // A port number set by a user is a mistake.
            (
                "TIDEGATE_PORT",
                "8081",
                Some(
                    "the variable TIDEGATE_PORT is not a setting and is ignored (tidegate serve --help lists them)"
                        .into(),
                ),
            ),
            ("OTHER_CONFG", "x", None),
            ("tidegate_config", "x", None),
        ];
        for (name, value, expected) in cases {
            let found = warnings([(OsString::from(name), OsString::from(value))].into_iter());
            assert_eq!(found, expected.iter().cloned().collect::<Vec<_>>(), "{name}={value}");
        }
    }
}
