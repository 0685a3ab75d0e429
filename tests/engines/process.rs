//! One engine process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::{Connection, FromRedisValue};
use tempfile::TempDir;

use super::Kind;
use crate::server::{send_signal, wait_for};

/// A running engine, killed when dropped. It keeps nothing over a restart, unless its arguments have `--appendonly`.
pub(crate) struct Engine {
    kind: Kind,
    arguments: Vec<String>,
    dir: TempDir,
    process: Child,
    pub(crate) port: u16,
}

impl Engine {
    /// Starts an engine that is alone and empty.
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// The same with further arguments, such as `--requirepass`, `secret`.
    pub(crate) fn start_with(kind: Kind, arguments: &[&str]) -> Self {
        Self::start_in(kind, TempDir::new().unwrap(), arguments)
    }

    /// The same in a directory that has files for it; its path is the current directory of the engine.
    pub(crate) fn start_in(kind: Kind, dir: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Another process may take a free port before the engine does.
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            let mut process = spawn(kind, &dir, port, &arguments);
            if answers(&mut process, port) {
                return Self { kind, arguments, dir, process, port };
            }
        }
        panic!("{kind:?} does not start:\n{}", log(&dir));
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL for `--store`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Sends a command by a connection of its own.
    ///
    /// # Panics
    /// If the engine answers with an error.
    pub(crate) fn run<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_run(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub(crate) fn try_run<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        query(&mut connect(self.port)?, command)
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops it where it is (SIGSTOP): its connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        send_signal(&self.process, "STOP");
    }

    /// Continues after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        send_signal(&self.process, "CONT");
    }

    /// Kills it, and starts an empty one on the same port.
    pub(crate) fn restart_empty(&mut self) {
        self.kill();
        let _none = fs::remove_dir_all(self.dir.path().join("appendonlydir"));
        self.restart();
    }

    /// Kills it, and starts it on the same port with what it keeps.
    pub(crate) fn restart(&mut self) {
        self.kill();
        wait_for("the engine on its former port", STARTUP, || {
            self.process = spawn(self.kind, &self.dir, self.port, &self.arguments);
            answers(&mut self.process, self.port).then_some(())
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- log of {:?} on port {}\n{}", self.kind, self.port, log(&self.dir));
        }
    }
}

/// A port of 127.0.0.1 that is free now. Engines do not set SO_REUSEPORT, so it cannot be reserved.
pub(super) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

pub(super) fn connect(port: u16) -> redis::RedisResult<Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let connection = client.get_connection_with_timeout(ANSWER)?;
    connection.set_read_timeout(Some(ANSWER))?;
    Ok(connection)
}

fn query<T: FromRedisValue>(connection: &mut Connection, command: &[&str]) -> redis::RedisResult<T> {
    let (name, arguments) = command.split_first().unwrap();
    redis::cmd(name).arg(arguments).query(connection)
}

fn spawn(kind: Kind, dir: &TempDir, port: u16, arguments: &[String]) -> Child {
    let binary = kind.find().unwrap();
    let output = File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
    let mut command = Command::new(binary);
    // A configuration file, where there is one, has to come first.
    let (file, others) = match arguments.split_first() {
        Some((first, others)) if !first.starts_with("--") => (Some(first), others),
        _ => (None, arguments),
    };
    command.args(file).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]).args(others);
    if file.is_none() && !arguments.iter().any(|argument| argument == "--appendonly") {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.current_dir(dir.path()).stdin(Stdio::null());
    command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
}

/// Waits until it answers, be it with an error; false: it ended.
fn answers(process: &mut Child, port: u16) -> bool {
    wait_for("an answer of the engine", STARTUP, || {
        if process.try_wait().unwrap().is_some() {
            return Some(false);
        }
        let answer = connect(port).and_then(|mut connection| query::<String>(&mut connection, &["PING"]));
        let has_answered = match answer {
            Ok(_) => true,
            Err(error) => error.code().is_some_and(|code| code == "NOAUTH"),
        };
        has_answered.then_some(true)
    })
}

fn log(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("log")).unwrap_or_default()
}

const PORT_ATTEMPTS: usize = 5;
const STARTUP: Duration = Duration::from_mins(1);
const ANSWER: Duration = Duration::from_secs(30);
