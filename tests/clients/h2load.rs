//! nghttp2's h2load: more at the same time than others send.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bodies::{CHECK, HEALTH, REFLECTION, check, health, list};
use crate::program::installed;
use crate::server::{DEADLINE, TestServer, eventually, wait_for};
use crate::{FRONT_ENDS, RULES, arrived, until_delayed};

#[test]
fn each_call_of_h2load_is_answered_once() {
    each(&[], |load| {
        let dir = load.dir.path();
        for (path, body, calls) in [
            (CHECK, check(dir, "free", "v"), 5_000),
            // All of them at the same time are less than the bound on incomplete requests.
            (CHECK, check(dir, "free", &"v".repeat(300_000)), 100),
            (HEALTH, health(dir), 500),
            (REFLECTION, list(dir), 200),
        ] {
            load.run(path, &body, calls).succeeded(calls);
        }
        assert_eq!(arrived(&load.server, "free"), 5_100);
    });
}

#[test]
fn what_h2load_waits_for_is_answered_when_the_server_stops() {
    each(&["--drain", "0s", "--shutdown-deadline", "50s"], |load| {
        let running = load.start(CHECK, &check(load.dir.path(), "turn", "v"), 20);
        eventually("their arrival", || arrived(&load.server, "turn") == 20);
        load.server.signal("TERM");
        running.end().succeeded(20);
        assert_eq!(load.server.wait().code(), Some(0));
    });
}

#[test]
fn what_h2load_waits_for_is_answered_when_its_connections_reach_their_age() {
    each(&["--max-connection-age", "100ms", "--max-connection-age-grace", "50s"], |load| {
        load.run(CHECK, &check(load.dir.path(), "turn", "v"), 20).succeeded(20);
        assert_eq!(arrived(&load.server, "turn"), 20);
    });
}

#[test]
fn calls_of_an_h2load_that_is_killed_give_up_their_places() {
    each(&[], |load| {
        let body = check(load.dir.path(), "never", "v");
        load.run(CHECK, &body, 1).succeeded(1);
        let mut running = load.start(CHECK, &body, 40);
        until_delayed(&load.server, 40);
        running.0.kill().unwrap();
        running.0.wait().unwrap();
        until_delayed(&load.server, 0);
        load.run(HEALTH, &health(load.dir.path()), 50).succeeded(50);
    });
}

/// A server, and h2load to ask it with.
struct Load {
    program: String,
    server: TestServer,
    dir: TempDir,
}

fn each(flags: &[&str], act: impl Fn(&mut Load)) {
    let Some(program) = installed("H2LOAD_BIN") else { return };
    for front_end in FRONT_ENDS {
        let server = TestServer::start(RULES, &[&["--http2", front_end], flags].concat());
        act(&mut Load { program: program.clone(), server, dir: TempDir::new().unwrap() });
    }
}

impl Load {
    /// So many calls, up to 32 at a time on each of four connections.
    fn start(&self, path: &str, body: &Path, calls: usize) -> Running {
        let mut command = Command::new(&self.program);
        command.args(["-c", &calls.min(4).to_string(), "-m", "32", "-n", &calls.to_string()]);
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]);
        command.arg(body).arg(format!("http://{}{path}", self.server.grpc)).stdin(Stdio::null()).stdout(Stdio::piped());
        Running(command.spawn().unwrap_or_else(|error| panic!("{} does not run: {error}", self.program)))
    }

    fn run(&self, path: &str, body: &Path, calls: usize) -> Outcome {
        self.start(path, body, calls).end()
    }
}

struct Running(Child);

impl Running {
    fn end(mut self) -> Outcome {
        wait_for("h2load's end", DEADLINE, || self.0.try_wait().unwrap());
        Outcome(String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap())
    }
}

/// What it has printed.
struct Outcome(String);

impl Outcome {
    #[track_caller]
    fn succeeded(&self, calls: usize) {
        let all = format!("{calls} done, {calls} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(self.0.contains(&all) && self.0.contains(&format!(" {calls} 2xx")), "not {calls}: {}", self.0);
    }
}
