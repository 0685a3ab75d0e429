//! A new process takes the place of the one that runs, under load: no request fails, no count is lost or doubled.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::TestServer;
use crate::server::{DEADLINE, Load, binary, command, eventually, http, rules_in};

/// Large enough to last for a while, small enough to be used up.
const MAX: u64 = 3_000;
const RULES: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: year, requests_per_unit: 3000}}
";

/// Ends a process with the test.
struct Successor(Child);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Kills a process that the launcher has started.
struct Ended(String);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = Command::new("kill").args(["-KILL", &self.0]).stderr(Stdio::null()).status();
    }
}

/// The flags of a process that can take the place of this server.
fn same_place(server: &TestServer, data: &TempDir, more: &[&str]) -> Command {
    let rules = server.dir.path().join("rules.yaml");
    let mut flags = vec!["--data-dir", data.path().to_str().unwrap()];
    flags.extend(["--grpc-addr", &server.grpc, "--http-addr", &server.http, "--admin-addr", &server.admin]);
    flags.extend(more);
    command(rules.to_str().unwrap(), &flags)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_no_count_is_lost_or_doubled() {
    for asked in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let flags = [
            "--data-dir",
            data.path().to_str().unwrap(),
            "--drain",
            "20s",
            "--shutdown-deadline",
            "40s",
            "--workers",
            "2",
        ];
        let mut server = TestServer::start(RULES, &flags);
        let load = Load::on(&server.grpc);
        load.answered(200).await;
        // Either the new process asks for the place, or the old one is stopping and drains for long.
        let mut command = if asked {
            same_place(&server, &data, &["--hand-over"])
        } else {
            server.signal("TERM");
            eventually("the drain", || http(&server.http, "GET", "/readyz", b"").0 == 503);
            same_place(&server, &data, &[])
        };
        // Each probe on a connection of its own, which one or the other process answers.
        let (address, probing) = (server.http.clone(), Arc::new(AtomicBool::new(asked)));
        let goes_on = Arc::clone(&probing);
        let prober = thread::spawn(move || {
            let mut statuses = Vec::new();
            while goes_on.load(Ordering::Relaxed) {
                statuses.push(http(&address, "GET", "/readyz", b"").0);
                thread::sleep(Duration::from_millis(1));
            }
            statuses
        });
        let _successor = Successor(command.stderr(Stdio::null()).spawn().unwrap());
        let ended = tokio::task::block_in_place(|| server.ended(DEADLINE));
        assert!(ended.success(), "asked: {asked}: the old process ends in order");
        load.answered(200).await;
        probing.store(false, Ordering::Relaxed);
        let statuses = prober.join().unwrap();
        assert!(statuses.iter().all(|status| *status == 200), "health is SERVING all the time: {statuses:?}");
        // Until the limit is used up: then the sum over both processes is the limit.
        assert_eq!(load.admitted().await, MAX, "asked: {asked}");
    }
}

/// A second process without the flag does not disturb the first one; nor does one that cannot serve what it is asked to.
#[test]
fn a_process_that_goes_on_is_not_disturbed() {
    let data = tempfile::tempdir().unwrap();
    let server = TestServer::start(RULES, &["--data-dir", data.path().to_str().unwrap()]);
    let output = same_place(&server, &data, &[]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("another tidegate process is using it"), "{error}");
    assert!(error.contains("--hand-over"), "{error}");
    let broken = tempfile::tempdir().unwrap();
    let path = rules_in(&broken, "domain: [");
    let output = command(&path, &["--data-dir", data.path().to_str().unwrap(), "--hand-over"]).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(http(&server.http, "GET", "/readyz", b"").0, 200, "the first one goes on");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let taken = same_place(&server, &data, &["--hand-over", "--metrics-addr", &address]);
    let mut unreachable = same_place(&server, &data, &["--hand-over"]);
    unreachable.env("OTEL_EXPORTER_OTLP_ENDPOINT", "::no url::");
    for (mut command, expected) in [(taken, "--metrics-addr"), (unreachable, "OTEL_EXPORTER_OTLP_")] {
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(expected), "{error}");
        assert_eq!(http(&server.http, "GET", "/readyz", b"").0, 200, "{expected}: the first one goes on");
    }
    // It can still hand over.
    let mut successor = Successor(same_place(&server, &data, &["--hand-over"]).stderr(Stdio::null()).spawn().unwrap());
    let mut server = server;
    assert!(server.ended(DEADLINE).success());
    assert_eq!(http(&server.http, "GET", "/readyz", b"").0, 200, "the second one serves");
    assert_eq!(successor.0.try_wait().unwrap(), None);
}

/// After a crash there is nobody to ask: the next start takes what is on the disk.
#[test]
fn a_crashed_process_needs_no_answer() {
    let data = tempfile::tempdir().unwrap();
    let mut server = TestServer::start(RULES, &["--data-dir", data.path().to_str().unwrap(), "--hand-over"]);
    server.crash();
    server.restart();
    assert_eq!(http(&server.http, "GET", "/readyz", b"").0, 200);
}

/// systemd keeps the sockets open: while the service restarts, connections wait, and none is lost.
#[test]
fn sockets_from_systemd_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules_in(&dir, RULES);
    for names in ["grpc:http:admin", ""] {
        // What systemd does: binds, passes the sockets as 3, 4, 5, and says so in the environment of the process.
        let launch = r#"
import os, socket, sys
names, binary, rules = sys.argv[1:4]
sockets = []
for _ in range(3):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0)); s.listen(64); sockets.append(s)
print(" ".join(str(s.getsockname()[1]) for s in sockets), flush=True)
held = [os.dup(s.fileno()) for s in sockets]
high = [os.dup2(fd, 100 + i) for i, fd in enumerate(held)]
for round in range(2):
    pid = os.fork()
    if pid == 0:
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
        env = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS="3")
        if names: env["LISTEN_FDNAMES"] = names
        os.execve(binary, [binary, "serve", "--config", rules, "--listen-fds", "--drain", "0s"], env)
    print(pid, flush=True)
    os.waitpid(pid, 0)
"#;
        let mut launcher = Command::new("python3");
        launcher.args(["-c", launch, names]).arg(binary()).arg(&rules).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = launcher.spawn() else {
            eprintln!("SKIPPED sockets_from_systemd_are_served: python3 is not installed");
            return;
        };
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let _launcher = Successor(child);
        let ports: Vec<String> = lines.next().unwrap().unwrap().split(' ').map(str::to_owned).collect();
        let address = format!("127.0.0.1:{}", ports[1]);
        let first = lines.next().unwrap().unwrap();
        let _first = Ended(first.clone());
        assert_eq!(http(&address, "GET", "/livez", b"").0, 200, "{names}");
        // The second process is started when the first one has ended; a connection in between waits.
        let stopped = Command::new("kill").args(["-TERM", &first]).status().unwrap();
        assert!(stopped.success());
        for _ in 0..20 {
            assert_eq!(http(&address, "GET", "/livez", b"").0, 200, "{names}: a connection waits");
            thread::sleep(Duration::from_millis(10));
        }
        let second = lines.next().unwrap().unwrap();
        let _second = Ended(second.clone());
        assert_ne!(first, second);
        assert_eq!(http(&format!("127.0.0.1:{}", ports[2]), "GET", "/rlconfig", b"").0, 200, "{names}: the admin port");
    }
    let output = command(&rules, &["--listen-fds"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("no socket was passed"), "{error}");
}
