//! `tidegate token new`: a token for the admin port, and its line for the file.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{complain, print};
use crate::access::{NewToken, Role};

/// Tokens for the admin port.
#[derive(Args, Clone, Debug)]
pub(super) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum TokenCommand {
    /// Make a token: print it once, and the line for the --admin-tokens file
    ///
    /// Standard output has two lines: the token, and its line for the file, which contains only the SHA-256 of the token. The file begins
    /// with `tokens:`; a server that runs reads a changed one within two seconds.
    ///
    /// Example: tidegate token new --name ci --role observer --domain api
    ///
    /// Exit status: 0 done, 2 a name or domain that the file could not have.
    New(New),
}

#[derive(Args, Clone, Debug)]
struct New {
    /// Name of whom or what it is for, as in the audit log
    #[arg(long, value_name = "NAME")]
    name: String,

    /// What its bearer may do
    #[arg(long, value_name = "ROLE", value_enum)]
    role: Role,

    /// Domain that its bearer may see and change; can be repeated; without it, all
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
}

impl Token {
    pub(super) fn run(self) -> ExitCode {
        let TokenCommand::New(New { name, role, domain }) = self.command;
        match NewToken::new(&name, role, &domain) {
            Ok(token) => {
                complain("The token, which is not shown again, and its line for the file, below `tokens:`");
                print(&token.secret);
                print(&token.line);
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                ExitCode::from(super::WRONG_COMMAND_LINE)
            }
        }
    }
}
