//! One running `tidegate serve`, on ports of its own, and waiting for what it does.

pub(crate) mod certificates;
mod load;
mod ports;
mod waiting;

#[allow(unused_imports, reason = "the tests of hand-overs and with other clients use it")]
pub(crate) use load::{Load, is_unsent};
#[allow(unused_imports, reason = "the tests of the service and with Envoy use it")]
pub(crate) use ports::ReservedPort;
#[allow(unused_imports, reason = "the tests with Envoy use all of it")]
pub(crate) use waiting::{Stopwatch, eventually, eventually_async, next_minute_if_late, wait_for};

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{env, thread};

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// Enough for a machine with other things to do; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A configuration that allows three calls a minute to each value of `key`.
pub(crate) const THREE_A_MINUTE: &str =
    "domain: api\ndescriptors:\n  - key: key\n    rate_limit: {unit: minute, requests_per_unit: 3}\n";

/// A running server; dropping it kills it.
pub(crate) struct TestServer {
    /// HOST:PORT, or unix:/PATH.
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) admin: String,
    /// Where its configuration is: `rules.yaml`.
    pub(crate) dir: TempDir,
    child: Child,
    /// Where its rules are, and its other flags: a restart is at the same place.
    config: PathBuf,
    flags: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
    /// Reads the log; ends with the process.
    reader: Option<thread::JoinHandle<()>>,
}

impl TestServer {
    /// Starts a server with this configuration and these flags besides the addresses, and waits until it listens.
    pub(crate) fn start(config: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let command = command(&rules_in(&dir, config), flags);
        let mut server = Self::spawn(dir, command);
        server.flags = owned(flags);
        server
    }

    /// Starts a server with the configuration in this file.
    pub(crate) fn start_file(config: &Path, flags: &[&str]) -> Self {
        let mut server = Self::spawn(tempfile::tempdir().unwrap(), command(&config.to_string_lossy(), flags));
        (server.config, server.flags) = (config.to_owned(), owned(flags));
        server
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_with_variables(config: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = command(&rules_in(&dir, config), flags);
        command.envs(variables.iter().copied());
        Self::spawn(dir, command)
    }

    /// The same, with so many files that the process may open.
    pub(crate) fn start_with_files(files: u32, config: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inner = command(&rules_in(&dir, config), flags);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
        limited.arg(inner.get_program()).args(inner.get_args());
        Self::spawn(dir, limited)
    }

    /// A server that this command starts; `dir` is kept for as long.
    pub(crate) fn spawn(dir: TempDir, mut command: Command) -> Self {
        let config = dir.path().join("rules.yaml");
        let (child, log, reader, [grpc, http, admin]) = launch(&mut command);
        Self { grpc, http, admin, dir, child, config, flags: Vec::new(), log, reader: Some(reader) }
    }

    /// Starts a new process at the same gRPC address, after the old one has ended.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "the old process still runs");
        let mut flags = vec!["--grpc-addr", &self.grpc];
        flags.extend(self.flags.iter().map(String::as_str));
        let (child, log, reader, addresses) = launch(&mut command(&self.config.to_string_lossy(), &flags));
        assert_eq!(addresses[0], self.grpc, "the address asked for");
        let [_, http, admin] = addresses;
        (self.child, self.log, self.reader, self.http, self.admin) = (child, log, Some(reader), http, admin);
    }

    /// Stops it as a debugger or a paused machine would, until it is sent `CONT`.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
        // A thread that runs on another core goes on for a moment after the signal.
        eventually("every thread's stop", || self.is_paused());
    }

    fn is_paused(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let state = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        threads.map(Result::unwrap).map(state).all(|stat| stat.contains(") T "))
    }

    /// Ends it as a crash would.
    pub(crate) fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        wait_for("tidegate's end", within, || self.child.try_wait().unwrap())
    }

    /// The gRPC address, which is on TCP.
    pub(crate) fn grpc_addr(&self) -> SocketAddr {
        self.grpc.parse().unwrap()
    }

    /// The address of the HTTP port.
    pub(crate) fn http_addr(&self) -> SocketAddr {
        self.http.parse().unwrap()
    }

    /// The address of the admin port.
    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.admin.parse().unwrap()
    }

    /// A channel to the gRPC port.
    pub(crate) async fn channel(&self) -> Channel {
        connect(&self.grpc).await
    }

    /// What the server wrote to its log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What the server wrote to its log, once a line contains `text`.
    #[track_caller]
    pub(crate) fn log_until(&self, text: &str) -> Vec<String> {
        let mut log = Vec::new();
        eventually(&format!("{text:?} in the log"), || {
            log = self.log();
            log.iter().any(|line| line.contains(text))
        });
        log
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The bytes of memory that the process has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.process_status("VmRSS:").strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// A value of the process as `/proc/PID/status` has it.
    pub(crate) fn process_status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    }

    /// The value of a series as `/metrics` spells it, such as `name{label="value"}`; 0 for one that is not there.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let (status, text) = self.http("GET", "/metrics", b"");
        assert_eq!(status, 200, "{text}");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(&self.child, name);
    }

    /// Waits until the process has ended, and its log has been read to the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.ended(DEADLINE);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// The status and body of a plain HTTP request to the public port.
    pub(crate) fn http(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        http(&self.http, method, path, body)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
        if thread::panicking() {
            eprintln!("--- tidegate's log\n{}", self.log().join("\n"));
        }
    }
}

/// Sends a signal by its name, such as `TERM`.
pub(crate) fn send_signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{name}");
}

type Launched = (Child, Arc<Mutex<Vec<String>>>, thread::JoinHandle<()>, [String; 3]);

/// Starts the process, and waits for the line that says where it listens.
fn launch(command: &mut Command) -> Launched {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (found, listening) = mpsc::channel();
    let lines = Arc::clone(&log);
    let reader = thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let addresses = parse_listening(&line);
            lines.lock().unwrap().push(line);
            if let Some(addresses) = addresses {
                let _gone = found.send(addresses);
            }
        }
    });
    let Ok(addresses) = listening.recv_timeout(DEADLINE) else {
        let _gone = child.kill();
        panic!("no listening line in {:?}", log.lock().unwrap());
    };
    (child, log, reader, addresses)
}

/// The build that cargo made for this test, or another one that is to be tried.
pub(crate) fn binary() -> PathBuf {
    env::var_os("TIDEGATE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_tidegate").into(), PathBuf::from)
}

fn owned(flags: &[&str]) -> Vec<String> {
    flags.iter().map(ToString::to_string).collect()
}

/// `tidegate serve` with every port 0, ready to be spawned.
pub(crate) fn command(config: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    // The same tests on the other front end.
    if let Some(front_end) = env::var_os("TEST_HTTP2") {
        command.env("TIDEGATE_HTTP2", front_end);
    }
    command.args(["serve", "--config", config]);
    for flag in ["--grpc-addr", "--http-addr", "--admin-addr"] {
        if !flags.contains(&flag) {
            command.args([flag, "127.0.0.1:0"]);
        }
    }
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs `tidegate` with these arguments to its end: the exit status, standard output and standard error.
pub(crate) fn run(args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    // The admin port has the lowest priority on a machine with other things to do.
    let needs_time = args.contains(&"--admin-addr") && !args.contains(&"--timeout");
    let timeout: &[&str] = if needs_time { &["--timeout", "60s"] } else { &[] };
    let mut child = command
        .args(args)
        .args(timeout)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    // A program that stopped at an error reads no further.
    let writing = thread::spawn(move || drop(input.write_all(stdin.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A channel to a gRPC address as in the `listening` line.
pub(crate) async fn connect(address: &str) -> Channel {
    let url = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    Endpoint::from_shared(url).unwrap().timeout(DEADLINE).connect().await.unwrap()
}

/// One HTTP/1.1 request on a connection of its own.
pub(crate) fn http(address: &str, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that rejects the body may close before it has read all of it.
    let _rejected = stream.write_all(body);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Writes the configuration `rules.yaml`, and returns its path.
pub(crate) fn rules_in(dir: &TempDir, text: &str) -> String {
    let path = dir.path().join("rules.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn parse_listening(line: &str) -> Option<[String; 3]> {
    let (_, addresses) = line.split_once("listening grpc=")?;
    let (grpc, rest) = addresses.split_once(" http=")?;
    let (http, rest) = rest.split_once(" admin=")?;
    let admin = rest.split(|c: char| c.is_whitespace() || c == '"').next()?;
    Some([grpc, http, admin].map(str::to_owned))
}
