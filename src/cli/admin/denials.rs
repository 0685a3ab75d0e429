//! `tidegate denials`: denied checks, a line each.

mod line;

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::ops::ControlFlow;

use clap::Args;
use tonic::{Response, Status, Streaming};

use super::connection::{Connection, Failure, Outcome, UsageClient, block_on, json};
use super::stream::{self, Observer};
use super::usage_selection::UsageSelection;
use crate::api::proto::tidegate::v1::{DenialReport, WatchDenialsRequest};
use crate::cli::complain;
use crate::sanitize::sanitize_lines;

/// `tidegate denials`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Denials {
    #[command(flatten)]
    selection: UsageSelection,

    /// Go on with new ones as they happen, until stopped
    #[arg(long)]
    follow: bool,

    /// Maximum number of recent ones to begin with; 0 with --follow: only new ones
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    last: u32,

    #[command(flatten)]
    connection: Connection,
}

impl Denials {
    /// Shows the recent denials, and with `--follow` new ones until it is stopped.
    pub(super) fn outcome(self) -> Outcome {
        let Self { selection, follow, last, connection } = self;
        if last == 0 && !follow {
            return Err(Failure::NoAnswer("--last 0 shows nothing without --follow".to_owned()));
        }
        let request = WatchDenialsRequest { filter: Some(selection.filter(false)), recent: last };
        let json = connection.json;
        let mut reading = Reading { request, follow, json, instance: String::new() };
        block_on(async {
            if follow {
                stream::follow(&connection, &mut reading).await
            } else {
                stream::first(&connection, &mut reading).await
            }
        })?;
        Ok(String::new().into())
    }
}

/// The stream of denials.
struct Reading {
    request: WatchDenialsRequest,
    follow: bool,
    json: bool,
    /// The server process of the last report.
    instance: String,
}

impl Observer for Reading {
    type Report = DenialReport;

    async fn open(&mut self, client: &mut UsageClient) -> Result<Response<Streaming<DenialReport>>, Status> {
        client.watch_denials(self.request.clone()).await
    }

    fn read(&mut self, report: DenialReport) -> Result<ControlFlow<()>, Failure> {
        let DenialReport { instance, denials, num_dropped } = report;
        let instance = instance.unwrap_or_default().id;
        if !self.instance.is_empty() && instance != self.instance {
            self.say("the server was started again");
        }
        self.instance = instance;
        // After the first time, earlier ones would be shown twice.
        self.request.recent = 0;
        if num_dropped > 0 {
            self.say(&lost(num_dropped));
        }
        if denials.is_empty() && !self.follow {
            self.say(NONE_KEPT);
        }
        let mut lines = String::new();
        for denial in &denials {
            let line = if self.json { json("Denial", denial)? } else { line::of(denial) };
            let _infallible = writeln!(lines, "{line}");
        }
        // A closed output (`| head`) is the end, and no error.
        let shown = stdout().lock().write_all(lines.as_bytes());
        Ok(if shown.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn say(&mut self, sentence: &str) {
        complain(&sanitize_lines(sentence));
    }

    fn resumed(&self) -> &'static str {
        "connected again; denials in between are not shown"
    }
}

fn lost(count: u64) -> String {
    let (were, them) = if count == 1 { ("denial was", "it") } else { ("denials were", "them") };
    format!("{count} {were} lost: more at once than this stream can take; the usage counts {them}")
}

const NONE_KEPT: &str = "no recent denials: the server keeps them only while something reads them (--denial-log, an alert, \
                         another observer); --follow shows new ones";

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate denials --follow                         # each denied request, as it happens
  tidegate denials --follow --entry user=alice      # why is alice denied?
  tidegate denials --rule api.user --last 20        # the latest that the server still has
  tidegate denials --follow --json | jq -r '.governing.rule' | sort | uniq -c

A line says when the request was denied, who asked (the entries of each descriptor), which limit denied it, of which rule and
domain, and until when. If several limits denied it, that is the one to wait for longest; the others follow.

The server keeps denials only while something reads them: the denial log (serve --denial-log), an alert, or an observer such as
this command with --follow; then the latest 16,384, of which --last shows the latest that are selected. What is denied while the
connection is down is not shown, and what comes faster than it can be read is lost; how many were lost is said on standard
error. No total is lost: `tidegate watch` has them.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted() {
        assert!(lost(1).starts_with("1 denial was lost"));
        assert!(lost(2).starts_with("2 denials were lost"));
    }
}
