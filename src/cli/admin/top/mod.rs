//! `tidegate top`: a view of the whole terminal on a running server.
//!
//! `model` is the state, and pure: events change it. `draw` shows it, and is pure, too. `session` is the loop between both, the
//! terminal (`screen`) and the server (`feed`). Nothing is counted here: totals are the server's cumulative counts.

mod action;
mod denials;
mod draw;
mod feed;
mod form;
mod model;
mod place;
mod row;
#[cfg(test)]
mod scene;
mod screen;
mod session;
mod survey;
mod track;
mod usage;
mod words;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::connection::{Connection, Failure, finish};
use crate::settings::duration;

/// `tidegate top`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Top {
    /// Time between two reports of the server, from 250ms to 1m
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,

    #[command(flatten)]
    connection: Connection,
}

impl Top {
    /// Shows the view until it is closed.
    pub(super) fn run(self) -> ExitCode {
        if self.connection.json {
            return finish(Err(Failure::NoAnswer(
                "--json: top draws on a terminal; other commands print JSON".to_owned(),
            )));
        }
        if !stdout().is_terminal() {
            return finish(Err(Failure::NoAnswer("standard output is not a terminal, which top draws on".to_owned())));
        }
        match session::run(self.connection, self.interval) {
            Ok(code) => code,
            Err(failure) => finish(Err(failure)),
        }
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if (LEAST_INTERVAL..=MOST_INTERVAL).contains(&interval) {
        Ok(interval)
    } else {
        Err("must be from 250ms to 1m".to_owned())
    }
}

/// As often as the screen is drawn.
const LEAST_INTERVAL: Duration = Duration::from_millis(250);
/// A rarer report would look like a lost connection.
const MOST_INTERVAL: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        assert_eq!(parse_interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_interval("1m"), Ok(Duration::from_mins(1)));
        for text in ["249ms", "61s", "0s", "soon", ""] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
