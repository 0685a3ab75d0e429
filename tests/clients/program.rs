//! A client in a process of its own.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::commands::Client;
use crate::server::DEADLINE;

/// A program that reads commands and writes answers, a line each; dropping it kills it.
pub(crate) struct Program {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Program {
    /// Starts the program that the variable names; `None`, and a word on it, without one.
    pub(crate) fn start(variable: &str, arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new(installed(variable)?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
        // By way of a thread of the test, so that it shows for a failed one only.
        let complaints = BufReader::new(process.stderr.take().unwrap()).lines();
        thread::spawn(move || complaints.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let (send, answers) = channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Some(Self { commands: process.stdin.take().unwrap(), process, answers })
    }
}

impl Client for Program {
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.answers.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no answer to {command:?}: {error}"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// The program that this variable names. Without one, the reason goes to the real standard error, past the test's capture.
pub(crate) fn installed(variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|name| !name.is_empty());
    if found.is_none() {
        let test = thread::current().name().unwrap_or_default().to_owned();
        let why = format!("SKIPPED: {test}: {variable} is not set (./test sets it, or says why it cannot)\n");
        let _ = std::io::stderr().write_all(why.as_bytes());
    }
    found
}
