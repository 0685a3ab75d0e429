//! `tidegate candidate`: a second configuration that decides the same checks.

mod render;

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};

use super::connection::{Client, Connection, Failure, Outcome, Printed};
use crate::api::proto::tidegate::v1::{
    ConfigFile, GetCandidateRequest, PromoteCandidateRequest, StartCandidateRequest, StopCandidateRequest,
};
use crate::config::{Files, Source};
use crate::rules::LoadOptions;
use render::render;

/// `tidegate candidate COMMAND`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CandidateCommand {
    /// Start to decide all checks also with another configuration, on counters of its own; no answer changes
    ///
    /// Example: tidegate candidate start rules-next.yaml
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Start(Start),
    /// Compare the candidate with the configuration in force
    ///
    /// Example: tidegate candidate status
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Status(OfCandidate),
    /// Put the candidate in force, in memory: the files are not changed
    ///
    /// Example: tidegate candidate promote
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Promote(OfCandidate),
    /// End the candidate, and print its last comparison
    ///
    /// Example: tidegate candidate stop
    ///
    /// Exit status: 0 done, 1 for an error from the server, 2 without a connection or for a wrong command line.
    Stop(OfCandidate),
}

/// `tidegate candidate start`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Start {
    /// Files or directories with the rules, at most 4 MiB in all; several form one configuration
    #[arg(value_name = "FILE", required = true)]
    paths: Vec<PathBuf>,

    /// Allow several files to extend one domain
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    merge_domains: bool,

    #[command(flatten)]
    connection: Connection,
}

/// A command without arguments of its own.
#[derive(Args, Debug)]
pub(in crate::cli) struct OfCandidate {
    #[command(flatten)]
    connection: Connection,
}

impl CandidateCommand {
    /// Asks the server.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Start(command) => command.outcome(),
            Self::Status(OfCandidate { connection }) => {
                let call = async |client: &mut Client| client.get_candidate(GetCandidateRequest {}).await;
                connection.answer(STATUS, call, render)
            }
            Self::Promote(OfCandidate { connection }) => {
                let call = async |client: &mut Client| client.promote_candidate(PromoteCandidateRequest {}).await;
                connection.change(STATUS, call, render, |answer| &answer.warning)
            }
            Self::Stop(OfCandidate { connection }) => {
                let call = async |client: &mut Client| client.stop_candidate(StopCandidateRequest {}).await;
                connection.answer(STATUS, call, render)
            }
        }
    }
}

impl Start {
    fn outcome(self) -> Outcome {
        let Files { files, skipped, .. } = self.read().map_err(Failure::NoAnswer)?;
        let files = files.into_iter().map(|file| ConfigFile { name: file.name, content: file.text }).collect();
        let request = StartCandidateRequest { files, merge_domains: self.merge_domains };
        let call = async |client: &mut Client| client.start_candidate(request).await;
        let printed = self.connection.answer(STATUS, call, render)?;
        Ok(Printed { warning: skipped.join("\n"), ..printed })
    }

    /// Reads all paths as one configuration.
    fn read(&self) -> Result<Files, String> {
        let options = LoadOptions { merge_domains: self.merge_domains, ..LoadOptions::default() };
        let (mut all, mut bytes) = (Files::default(), 0_usize);
        for path in &self.paths {
            let files = Source::open(path, options).read().map_err(|error| error.to_string())?;
            bytes = files.files.iter().fold(bytes, |bytes, file| bytes.saturating_add(file.text.len()));
            if bytes > MAX_BYTES {
                return Err(format!("{}: a candidate has at most 4 MiB in all", path.display()));
            }
            all.append(files);
        }
        Ok(all)
    }
}

const STATUS: &str = "CandidateStatus";
/// The files are one message, which the server holds in memory next to the configuration in force.
const MAX_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: CandidateCommand,
    }

    fn start(paths: &[PathBuf]) -> Start {
        let words = ["candidate", "start"].into_iter().map(PathBuf::from).chain(paths.iter().cloned());
        let line = Line::from_arg_matches(&Line::command().get_matches_from(words)).unwrap();
        match line.command {
            CandidateCommand::Start(start) => start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_and_directories_are_one_configuration_of_bounded_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("d")).unwrap();
        fs::write(path("d/a.yaml"), "domain: a").unwrap();
        fs::write(path("d/note"), "not read").unwrap();
        fs::write(path("b.yaml"), vec![b'#'; MAX_BYTES - 9]).unwrap();
        fs::write(path("c.yaml"), "#").unwrap();
        let cases = [
            (vec!["d", "b.yaml"], Ok(2)),
            (vec!["d", "b.yaml", "c.yaml"], Err("c.yaml: a candidate has at most 4 MiB in all")),
            (vec!["gone"], Err("no such file")),
        ];
        for (names, expected) in cases {
            let paths: Vec<_> = names.iter().map(|name| path(name)).collect();
            match (start(&paths).read(), expected) {
                (Ok(files), Ok(count)) => assert_eq!((files.files.len(), files.skipped.len()), (count, 1)),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, expected) => panic!("{names:?}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
