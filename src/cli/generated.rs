//! `tidegate completions` and `tidegate man`: what shells and `man` know of the command line, made from the command line itself.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, complain};

/// The shell to complete in.
#[derive(Args, Clone, Debug)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        written(io::stdout().write_all(&script))
    }
}

/// Where the pages go.
#[derive(Args, Clone, Debug)]
pub(super) struct Man {
    /// Directory for the pages of all commands: tidegate.1, tidegate-serve.1, ... [default: only tidegate.1, to standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self) -> ExitCode {
        let command = Cli::command();
        let Some(dir) = &self.out else {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            return written(rendered.and_then(|()| io::stdout().write_all(&page)));
        };
        match fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("error: {}: {error}", dir.display()));
                ExitCode::FAILURE
            }
        }
    }
}

/// A closed output (`| head`) is not an error.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

const NAME: &str = "tidegate";
