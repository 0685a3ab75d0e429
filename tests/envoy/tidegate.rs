//! The Tidegate process under test: started on port 0, known by the line that tells its addresses.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use crate::waiting::wait_for;

/// A running `tidegate serve`, killed when dropped.
pub(crate) struct Tidegate {
    process: Child,
    log: Log,
    config: PathBuf,
    flags: Vec<String>,
    /// Where it answers gRPC; a restart answers at the same place.
    pub(crate) grpc: SocketAddr,
    /// Where it serves plain HTTP.
    #[allow(dead_code, reason = "not every test binary that includes this file asks the HTTP port")]
    pub(crate) http: SocketAddr,
    /// Where it serves operators.
    #[allow(dead_code, reason = "not every test binary that includes this file asks the admin port")]
    pub(crate) admin: SocketAddr,
}

type Log = Arc<Mutex<Vec<String>>>;

impl Tidegate {
    /// Starts a server with `config` on free ports.
    pub(crate) fn start(config: &Path, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let (process, log) = spawn(config, "127.0.0.1:0", &flags);
        let mut server =
            Self { process, log, config: config.to_owned(), flags, grpc: NOWHERE, http: NOWHERE, admin: NOWHERE };
        server.learn_addresses();
        server
    }

    fn learn_addresses(&mut self) {
        let said = wait_for("tidegate's `listening` line", Duration::from_secs(20), || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("tidegate ended with {status}:\n{}", self.log_text());
            }
            addresses(&self.log.lock().unwrap())
        });
        (self.grpc, self.http, self.admin) = said;
    }

    /// The log so far.
    pub(crate) fn log_text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

#[allow(dead_code, reason = "not every test binary that includes this file stops and restarts its server")]
impl Tidegate {
    /// Starts a new process at the same gRPC address, after the old one has ended.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.try_wait().unwrap().is_some(), "the old process still runs");
        (self.process, self.log) = spawn(&self.config, &self.grpc.to_string(), &self.flags);
        let before = self.grpc;
        self.learn_addresses();
        assert_eq!(self.grpc, before, "the address asked for");
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Stops it as a debugger or a paused machine would, until it is sent `CONT`.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
        // A thread that runs on another core goes on for a moment after the signal.
        wait_for("every thread's stop", Duration::from_secs(5), || self.is_paused().then_some(()));
    }

    fn is_paused(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let state = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        threads.map(Result::unwrap).map(state).all(|stat| stat.contains(") T "))
    }

    /// Ends it as a crash would.
    pub(crate) fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        wait_for("tidegate's end", within, || self.process.try_wait().unwrap())
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("--- tidegate's log\n{}", self.log_text());
        }
    }
}

fn spawn(config: &Path, grpc: &str, flags: &[String]) -> (Child, Log) {
    let mut command = Command::new(binary());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command.arg("serve").arg("--config").arg(config).args(["--grpc-addr", grpc]);
    command.args(["--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]).args(flags);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = Log::default();
    let stderr = process.stderr.take().unwrap();
    let into = Arc::clone(&log);
    thread::spawn(move || collect(stderr, &into));
    (process, log)
}

/// The build that cargo made for this test, or another one that is to be tried.
fn binary() -> PathBuf {
    env::var_os("TIDEGATE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_tidegate").into(), PathBuf::from)
}

fn collect(stderr: ChildStderr, log: &Log) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        log.lock().unwrap().push(line);
    }
}

/// The gRPC, the HTTP and the admin address, from the lines that tell what is listened on.
fn addresses(log: &[String]) -> Option<(SocketAddr, SocketAddr, SocketAddr)> {
    let said = |name: &str| {
        let lines = log.iter().filter(|line| line.contains("listening"));
        lines.flat_map(|line| line.split_whitespace()).find_map(|word| word.strip_prefix(name)?.parse().ok())
    };
    Some((said("grpc=")?, said("http=")?, said("admin=")?))
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
