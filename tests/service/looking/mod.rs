//! `watch`, `denials` and `usage`: the real commands against the real server.

mod denials;
pub(crate) mod usage;
mod watch;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::server::{binary, eventually, run};

/// Windows that no test outlives.
const RULES: &str = "
domain: api
usage: {by: [user]}
descriptors:
  - {key: user, rate_limit: {unit: year, requests_per_unit: 3}}
  - {key: path, rate_limit: {unit: year, requests_per_unit: 100}}
";

/// Sends checks of one user, and counts the denied ones on the way.
async fn send(server: &TestServer, user: &str, times: u32) {
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for _ in 0..times {
        service.should_rate_limit(check(&[&[("user", user)]])).await.unwrap();
    }
}

/// A check with these descriptors.
fn check(descriptors: &[&[(&str, &str)]]) -> RateLimitRequest {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).to_owned(), value: (*value).to_owned() };
    let descriptor = |entries: &&[(&str, &str)]| RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    };
    let descriptors = descriptors.iter().map(descriptor).collect();
    RateLimitRequest { domain: "api".to_owned(), descriptors, ..RateLimitRequest::default() }
}

/// Runs a command against the admin port of a server, to its end. The threads of that port have the lowest priority: on a busy
/// machine they need time.
fn ask(server: &TestServer, args: &[&str]) -> (Option<i32>, String, String) {
    run(&[args, &["--timeout", "30s", "--admin-addr", &server.admin]].concat(), "")
}

/// The output of a command that succeeds, and says nothing on standard error.
#[track_caller]
pub(crate) fn shown(server: &TestServer, args: &[&str]) -> String {
    let (code, stdout, stderr) = ask(server, args);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
    stdout
}

/// A command that goes on until it is dropped.
struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// The lines that came so far, with their ends.
type Lines = Arc<Mutex<Vec<String>>>;

impl Running {
    fn start(server: &TestServer, args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(args).args(["--timeout", "30s", "--admin-addr", &server.admin]);
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    fn stdout(&self) -> String {
        self.stdout.lock().unwrap().concat()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap().concat()
    }

    /// The output, once it is as wanted.
    #[track_caller]
    fn stdout_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        eventually(what, || is_so(&self.stdout()));
        self.stdout()
    }

    #[track_caller]
    fn stderr_until(&self, text: &str) -> String {
        eventually(text, || self.stderr().contains(text));
        self.stderr()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
        if thread::panicking() {
            eprintln!("--- standard output\n{}\n--- standard error\n{}", self.stdout(), self.stderr());
        }
    }
}

/// What a pipe yields so far.
fn collect(pipe: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let written = Arc::clone(&lines);
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).is_ok_and(|count| count > 0) {
            written.lock().unwrap().push(std::mem::take(&mut line));
        }
    });
    lines
}

/// A new server at the admin address of one that has ended.
fn start_again(ended: &TestServer, rules: &str, flags: &[&str]) -> TestServer {
    TestServer::start(rules, &[&["--admin-addr", &ended.admin], flags].concat())
}
