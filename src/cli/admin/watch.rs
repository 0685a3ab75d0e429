//! `tidegate watch`: the usage of each rule, live.

mod rates;
mod rows;
mod screen;
mod text;

use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use tonic::{Response, Status, Streaming};

use super::connection::{Connection, Failure, Outcome, UsageClient, block_on, json};
use super::stream::{self, Observer};
use super::usage_selection::UsageSelection;
use crate::api::proto::tidegate::v1::{ServerInstance, UsageReport, WatchUsageRequest};
use crate::cli::complain;
use crate::sanitize::sanitize_lines;
use crate::settings::duration;
use rates::Tally;
use screen::Screen;

/// `tidegate watch`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Watch {
    #[command(flatten)]
    selection: UsageSelection,

    /// Only rules, counters and values with denials
    #[arg(long)]
    denied: bool,

    /// Also show single counters, those with the most hits
    #[arg(long)]
    counters: bool,

    /// Also show requests by the values of this entry key, which `usage: by` of the rules file names; can be repeated
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    by: Vec<String>,

    /// Number of counters, and of values of each key
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    top: u32,

    /// Time between two reports, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    interval: Duration,

    /// Print one report, and exit
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Watch {
    /// Shows reports until it is stopped.
    pub(super) fn outcome(self) -> Outcome {
        let Self { selection, denied, counters, by, top, interval, once, connection } = self;
        let interval = prost_types::Duration::try_from(interval);
        let request = WatchUsageRequest {
            filter: Some(selection.filter(denied)),
            interval: Some(interval.map_err(|error| Failure::NoAnswer(error.to_string()))?),
            top,
            requests_by: by,
            ..WatchUsageRequest::default()
        };
        let output = match Screen::on_terminal() {
            _ if connection.json => Output::Json,
            Some(screen) => Output::Screen(screen),
            None => Output::Lines,
        };
        let mut watching = Watching { request, counters, once, tally: Tally::default(), output };
        block_on(async {
            if once {
                stream::first(&connection, &mut watching).await
            } else {
                stream::follow(&connection, &mut watching).await
            }
        })?;
        Ok(String::new().into())
    }
}

/// The stream, and where its reports are shown.
struct Watching {
    /// It resumes after the last report.
    request: WatchUsageRequest,
    /// Counters are wanted.
    counters: bool,
    once: bool,
    tally: Tally,
    output: Output,
}

enum Output {
    /// A report a line.
    Json,
    /// A table that is refreshed in place.
    Screen(Screen),
    /// A line for each rule that changed.
    Lines,
}

impl Observer for Watching {
    type Report = UsageReport;

    async fn open(&mut self, client: &mut UsageClient) -> Result<Response<Streaming<UsageReport>>, Status> {
        client.watch_usage(self.request.clone()).await
    }

    fn read(&mut self, mut report: UsageReport) -> Result<ControlFlow<()>, Failure> {
        if !self.counters {
            report.counters.clear();
        }
        let ServerInstance { id, .. } = report.instance.clone().unwrap_or_default();
        (self.request.resume_instance_id, self.request.resume_sequence) = (id, report.sequence);
        let rows = rows::of(&report);
        let changes = self.tally.advance(&report, &rows);
        if let Some(sentence) = &changes.restarted {
            self.say(sentence);
        }
        if report.resumed && report.num_reports_merged > 0 {
            let missed = report.num_reports_merged;
            self.say(&format!("{missed} reports were missed; what they counted is in this one"));
        }
        let is_shown = match &mut self.output {
            Output::Json => write_lines(&json("UsageReport", &report)?),
            Output::Screen(screen) => {
                let text = text::table(&report, &rows, &changes, screen.size());
                screen.show(&text)
            }
            Output::Lines => {
                let lines = text::lines(&report, &rows, &changes);
                if lines.is_empty() { Ok(()) } else { write_lines(&lines) }
            }
        };
        // A closed output (`| head`) is the end, and no error.
        Ok(if self.once || is_shown.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn say(&mut self, sentence: &str) {
        match &mut self.output {
            Output::Screen(screen) => screen.say(sentence),
            Output::Json | Output::Lines => complain(&sanitize_lines(sentence)),
        }
    }

    fn resumed(&self) -> &'static str {
        "connected again"
    }
}

fn write_lines(lines: &str) -> std::io::Result<()> {
    writeln!(stdout(), "{lines}")
}

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate watch                                    # every rule, refreshed once a second
  tidegate watch --denied --interval 5s             # only rules that denied something
  tidegate watch --rule api.user --counters         # one rule, and its counters with the most hits
  tidegate watch --by user --top 5                  # and the five users with the most requests
  tidegate watch --entry user=alice                 # what counts alice
  tidegate watch --once                             # the totals now
  tidegate watch --json | jq '.total.numRequests'

Counts are totals since the server's start, so none is lost while nobody watches; rates are those since the report before. On
a terminal the table is refreshed in place. Elsewhere each report is lines, key=value: all rules at first, then those whose
counts changed. `also` has what is not zero:
  near: hits between 80 % of the limit and the limit
  banned, queue_full, no_room: denied checks, by another reason than too many hits
  queued: delayed checks           shadow_denied: hits that only shadow mode admitted
  hits, over: all hits, and those over the limit, if checks do not cost one each
  refunded: hits                   unlimited, unmatched: checks without a limit, and without a rule";
