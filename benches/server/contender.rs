//! The measured servers: each is a process of its own, which is paused while another is measured.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::str::FromStr;
use std::thread;

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cores;
use crate::load::{Load, TIDEGATE};
use crate::no_op::{self, Build};

/// The kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `tidegate serve`.
    Tidegate,
    /// `tidegate serve --http2 h2`.
    OnH2,
    /// `tidegate serve` without a rule for what is asked: each check is read, found without a limit and answered.
    FrontEnd,
    /// A server that decides nothing.
    NoOp(Build),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tidegate => "tidegate",
            Self::OnH2 => "tidegate-h2",
            Self::FrontEnd => "front-end",
            Self::NoOp(Build::Tonic) => "tonic",
            Self::NoOp(Build::Hyper) => "hyper",
            Self::NoOp(Build::H2) => "h2",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "tidegate" => Ok(Self::Tidegate),
            "tidegate-h2" => Ok(Self::OnH2),
            "front-end" => Ok(Self::FrontEnd),
            _ => Build::from_str(name, false).map(Self::NoOp),
        }
    }
}

/// A running server; dropping it ends it.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// The gRPC address.
    pub(crate) grpc: String,
    /// The address for metrics and observers; empty for servers without.
    http: String,
    pub(crate) admin: String,
    child: Child,
    /// The directory of its rules and its data.
    dir: TempDir,
}

impl Server {
    /// Starts a server on these cores, with a worker for each, for this load; with a data directory if `history`.
    pub(crate) fn start(kind: Kind, on: &[usize], load: &Load, history: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workers = on.len().to_string();
        let mut command = match kind {
            Kind::Tidegate => tidegate(on, &dir, &workers, &load.rules(), history),
            Kind::OnH2 => {
                let mut command = tidegate(on, &dir, &workers, &load.rules(), history);
                command.args(["--http2", "h2"]);
                command
            }
            Kind::FrontEnd => tidegate(on, &dir, &workers, OF_ANOTHER_DOMAIN, history),
            Kind::NoOp(build) => {
                let mut command = cores::on(on, std::env::current_exe().unwrap());
                command.args([no_op::ROLE, build.to_possible_value().unwrap().get_name(), &workers]);
                command.stdout(Stdio::piped());
                command
            }
        };
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let [grpc, http, admin] = match kind {
            Kind::Tidegate | Kind::OnH2 | Kind::FrontEnd => listening(child.stderr.take().unwrap()),
            Kind::NoOp(_) => {
                let mut line = String::new();
                BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
                [line.trim().to_owned(), String::new(), String::new()]
            }
        };
        assert!(!grpc.is_empty(), "{kind} did not start");
        Self { kind, grpc, http, admin, child, dir }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The number of counters in Tidegate.
    pub(crate) fn counters(&self) -> usize {
        let page = self.metrics();
        let line = page.lines().find_map(|line| line.strip_prefix("tidegate_counters "));
        line.unwrap_or_else(|| panic!("no counters in {page}")).parse::<f64>().unwrap() as usize
    }

    /// The page of Tidegate's metrics.
    pub(crate) fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        page
    }

    /// The path of its rules.
    pub(crate) fn rules(&self) -> String {
        self.dir.path().join("rules.yaml").to_string_lossy().into_owned()
    }

    /// Runs a command of operators against it, while it is not paused.
    pub(crate) fn operate(&self, arguments: &[&str]) {
        let address = format!("http://{}", self.admin);
        self.go_on();
        let done = Command::new(TIDEGATE).args(arguments).args(["--admin-addr", &address]).output().unwrap();
        self.pause();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Pauses it, so that its background work does not affect the others.
    pub(crate) fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    pub(crate) fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn tidegate(on: &[usize], dir: &TempDir, workers: &str, rules: &str, history: bool) -> Command {
    let config = dir.path().join("rules.yaml");
    std::fs::write(&config, rules).unwrap();
    let mut command = cores::on(on, TIDEGATE);
    command.arg("serve").arg("--config").arg(config).args(["--workers", workers, "--counter-memory", "4GiB"]);
    for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
        command.args([port, "127.0.0.1:0"]);
    }
    if history {
        command.arg("--data-dir").arg(dir.path().join("data"));
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The addresses in the log. The rest of the log is read and ignored.
fn listening(log: ChildStderr) -> [String; 3] {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    for line in lines.by_ref() {
        let word = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            Some(rest.split([' ', '"']).next()?.to_owned())
        };
        if let (Some(grpc), Some(http), Some(admin)) = (word("grpc="), word("http="), word("admin=")) {
            thread::spawn(move || lines.for_each(drop));
            return [grpc, http, admin];
        }
        seen.push(line);
    }
    panic!("tidegate did not start: {seen:?}");
}

/// Rules that no check of the generator meets.
const OF_ANOTHER_DOMAIN: &str =
    "domain: other\ndescriptors:\n- key: k0\n  rate_limit: {unit: day, requests_per_unit: 1}\n";
