//! `tidegate record`: writes a sample of live checks as a trace.

use std::future::pending;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use prost_types::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tonic::Streaming;

use super::connection::{Client, Connection, Failure, Outcome, Printed, Session};
use super::render::counted;
use super::time::{instant, parse_length};
use crate::api::proto::tidegate::v1::{RecordChecksRequest, RecordedChecks};
use crate::api::recorded::read_recorded;
use crate::api::usage::time;
use crate::cli::print;
use crate::runtime::clock::Clock;
use crate::simulate::{Note, TraceFile, TraceFileError};

/// `tidegate record`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Record {
    /// File for the trace, which only its owner may read
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,

    /// How long to record, at most 24h; Ctrl-C ends it earlier
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_length)]
    duration: Duration,

    /// The maximum number of checks, up to 10000000
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    max_checks: u64,

    /// Record one check in N, written 1/N
    #[arg(long, value_name = "1/N", default_value = "1/1", value_parser = parse_sample)]
    sample: NonZeroU32,

    /// Record one in N values of this entry key, each with all of its checks, in place of single checks
    #[arg(long, value_name = "KEY")]
    sample_by: Option<String>,

    /// Record only checks of this domain; repeat the flag for more domains
    #[arg(long = "domain", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    domains: Vec<String>,

    /// Record hashes in place of values, but for those that the rules name
    #[arg(long)]
    hash_values: bool,

    /// Why, for the audit log; at most 500 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,

    #[command(flatten)]
    connection: Connection,
}

/// How a recording ended.
enum End {
    /// As it was to end, or by a signal.
    Wanted(&'static str),
    /// Earlier.
    Early(Failure),
}

impl Record {
    /// Records, and says what is in the file.
    pub(super) fn outcome(self) -> Outcome {
        if !self.force && self.out.symlink_metadata().is_ok() {
            return Err(Failure::NoAnswer(TraceFileError::Exists(self.out).to_string()));
        }
        let (counts, end) = self.connection.run(async |session| self.record(session).await)?;
        let text = self.connection.print("RecordedChecks", &counts, |counts, _| self.render(counts))?;
        match end {
            End::Wanted(_) => Ok(Printed { text, warning: warning(&counts) }),
            End::Early(failure) => {
                print(&text);
                Err(failure)
            }
        }
    }

    async fn record(&self, mut session: Session<'_>) -> Result<(RecordedChecks, End), Failure> {
        let request = RecordChecksRequest {
            domains: self.domains.clone(),
            duration: Some(self.duration),
            max_checks: self.max_checks,
            one_in: self.sample.get(),
            sample_by: self.sample_by.clone().unwrap_or_default(),
            hash_values: self.hash_values,
            reason: self.reason.clone(),
        };
        let mut stream = session.ask(async |client: &mut Client| client.record_checks(request).await).await?;
        let mut file = TraceFile::create(&self.out, self.force).map_err(|error| no_file(&error))?;
        let began = instant(&time(Clock::start().now()));
        let note = Note {
            began,
            domains: self.domains.clone(),
            one_in: self.sample.get().into(),
            sample_by: self.sample_by.clone().unwrap_or_default(),
            hashed: self.hash_values,
            ..Note::default()
        };
        file.add_note(&note).and_then(|()| file.flush()).map_err(|error| no_file(&error))?;
        let mut counts = RecordedChecks::default();
        let end = write_all(&mut stream, &session, &mut file, &mut counts).await;
        let ended = match &end {
            End::Wanted(why) => (*why).to_owned(),
            End::Early(Failure::Status(error) | Failure::NoAnswer(error)) => error.clone(),
        };
        let last = Note {
            ended,
            checks: Some(counts.num_recorded),
            lost: counts.num_lost,
            late: counts.num_late,
            rematched: counts.num_rematched,
            ..Note::default()
        };
        // If the disk is full, the trace ends without the note.
        let noted = file.add_note(&last).and_then(|()| file.flush());
        match (end, noted) {
            (End::Wanted(_), Err(error)) => Ok((counts, End::Early(failed(&error)))),
            (end, _) => Ok((counts, end)),
        }
    }

    fn render(&self, counts: &RecordedChecks) -> String {
        let out = self.out.display();
        let mut text = format!("{} recorded in {out}", counted(counts.num_recorded, "check"));
        if counts.num_lost > 0 {
            text = format!("{text}; {} lost", counts.num_lost);
        }
        text
    }
}

/// Writes each message of the stream, until the stream, a signal or the disk ends it.
async fn write_all(
    stream: &mut Streaming<RecordedChecks>,
    session: &Session<'_>,
    file: &mut TraceFile,
    counts: &mut RecordedChecks,
) -> End {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).ok(), signal(SignalKind::terminate()).ok());
    loop {
        let signals = [&mut interrupt, &mut terminate].map(|signal| async move {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => pending().await,
            }
        });
        let [interrupted, terminated] = signals;
        let message = tokio::select! {
            message = stream.message() => message,
            () = interrupted => return End::Wanted("stopped by a signal"),
            () = terminated => return End::Wanted("stopped by a signal"),
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => {
                return End::Early(Failure::Status("the server has ended the recording early".to_owned()));
            }
            Err(status) => {
                let (Failure::Status(error) | Failure::NoAnswer(error)) = session.failure(&status);
                return End::Early(Failure::Status(error));
            }
        };
        let written = message.checks.iter().filter_map(read_recorded).try_for_each(|(at, check)| file.add(at, &check));
        if let Err(error) = written.and_then(|()| file.flush()) {
            return End::Early(failed(&error));
        }
        let is_finished = message.finished;
        *counts = RecordedChecks { checks: Vec::new(), ..message };
        if is_finished {
            return End::Wanted("finished");
        }
    }
}

/// What the user should know about the trace; empty: nothing.
fn warning(counts: &RecordedChecks) -> String {
    let mut lines = Vec::new();
    if counts.num_lost > 0 {
        lines.push(format!(
            "{} did not fit and {} not in the trace: record fewer with --sample or --domain",
            counted(counts.num_lost, "check"),
            if counts.num_lost == 1 { "is" } else { "are" }
        ));
    }
    if counts.num_late > 0 {
        lines.push(format!("{} came late and have the time of the one before them", counted(counts.num_late, "check")));
    }
    if counts.num_rematched > 0 {
        lines.push(format!(
            "{} match another rule because of their hashes",
            counted(counts.num_rematched, "descriptor")
        ));
    }
    lines.join("\n")
}

fn no_file(error: &TraceFileError) -> Failure {
    Failure::NoAnswer(error.to_string())
}

/// The recording ended because of the file.
fn failed(error: &TraceFileError) -> Failure {
    Failure::Status(format!("cannot write the trace: {error}"))
}

/// Parses the value of `--sample`: `1/10`.
fn parse_sample(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_prefix("1/").and_then(|number| number.parse().ok());
    number.ok_or_else(|| "expected 1/N, such as 1/10".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        for (text, expected) in
            [("1/1", Some(1)), ("1/250", Some(250)), ("1/0", None), ("10", None), ("2/3", None), ("", None)]
        {
            assert_eq!(parse_sample(text).ok().map(NonZeroU32::get), expected, "{text}");
        }
    }

    #[test]
    fn warnings() {
        let counts = RecordedChecks { num_lost: 1, num_late: 2, num_rematched: 3, ..RecordedChecks::default() };
        let text = "\
1 check did not fit and is not in the trace: record fewer with --sample or --domain
2 checks came late and have the time of the one before them
3 descriptors match another rule because of their hashes";
        assert_eq!(warning(&counts), text);
        assert_eq!(warning(&RecordedChecks::default()), "");
    }
}
