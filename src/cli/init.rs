//! `tidegate init`: a commented configuration to begin with.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{complain, print};

/// The configuration to write.
#[derive(Args, Clone, Debug)]
pub(super) struct Init {
    /// What to limit
    #[arg(value_name = "CASE", value_enum)]
    case: Case,

    /// File to write, which must not exist [default: standard output]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Each partner, with more for some of them and less for a costly endpoint
    PerPartner,
    /// Each user, tenant and node, all or nothing
    PerUserTenantNode,
    /// A rate with a queue, in which requests wait for their turn
    Queue,
    /// A limit, and a ban for those who use it up
    Ban,
    /// The headers and the body that clients see
    Headers,
}

impl Case {
    fn text(self) -> &'static str {
        match self {
            Self::PerPartner => include_str!("init/per-partner.yaml"),
            Self::PerUserTenantNode => include_str!("init/per-user-tenant-node.yaml"),
            Self::Queue => include_str!("init/queue.yaml"),
            Self::Ban => include_str!("init/ban.yaml"),
            Self::Headers => include_str!("init/headers.yaml"),
        }
    }
}

impl Init {
    /// Writes the configuration. Exit status: 0, or 1 if the file exists or cannot be written.
    pub(super) fn run(&self) -> ExitCode {
        let text = self.case.text();
        let Some(path) = &self.out else {
            print(text.trim_end());
            return ExitCode::SUCCESS;
        };
        let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => {
                let path = path.display();
                complain(&format!("Next: tidegate check {path}, then: tidegate serve {path}"));
                complain(
                    "The comment at the top of the file says what Envoy needs: the filter's domain, the route's rate_limits",
                );
                ExitCode::SUCCESS
            }
            Err(error) => {
                let hint = if error.kind() == io::ErrorKind::AlreadyExists { "; it is left as it is" } else { "" };
                complain(&format!("error: {}: {error}{hint}", path.display()));
                ExitCode::FAILURE
            }
        }
    }
}
