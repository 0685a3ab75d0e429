//! The front end of the gRPC port that is not the default.

use std::env;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// What peers do to connections, and what they send that no gRPC library would: these tests run once more, on `--http2 h2`.
#[test]
fn the_tests_of_connections_pass_on_the_h2_crate_too() {
    // All of them run on that one anyway.
    if env::var_os("TEST_HTTP2").is_some() {
        return;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(TESTS).args(["--test-threads", "2"]).env("TEST_HTTP2", "h2").stdin(Stdio::null());
    for name in ["TIDEGATE_ABUSE_SECONDS", "TIDEGATE_ABUSE_ONLY"] {
        command.env_remove(name);
    }
    let (send, ended) = channel();
    thread::spawn(move || send.send(command.output().unwrap()));
    let output = ended.recv_timeout(WITHIN).expect("the end of the tests");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let passed = text.rsplit_once(" passed").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<usize>().ok());
    assert!(passed.is_some_and(|passed| passed >= TESTS.len()), "{text}");
}

const TESTS: [&str; 9] = [
    "abuse::",
    "compressed::",
    "delayed::",
    "drain::",
    "hostile::",
    "instead::",
    "reflection::",
    "storm::",
    "tls_server::",
];

/// They take a minute on a machine with nothing else to do.
const WITHIN: Duration = Duration::from_mins(8);
