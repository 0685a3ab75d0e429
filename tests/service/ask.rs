//! `tidegate ask`.

use std::process::Command;

use crate::TestServer;
use crate::server::THREE_A_MINUTE;

/// The exit status, standard output and standard error.
fn ask(addr: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["ask", "--addr", addr, "--domain", "api"]).args(flags);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn without_an_answer_the_exit_status_is_2() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_addr = silent.local_addr().unwrap().to_string();
    let cases: [(&str, &[&str], &str); 5] = [
        (&nobody, &["--descriptor", "key=v"], "refused"),
        (&silent_addr, &["--descriptor", "key=v", "--timeout", "100ms"], "no answer within 100ms"),
        ("unix:/nonexistent/t.sock", &["--descriptor", "key=v"], "No such file"),
        (&nobody, &["--descriptor", "=v"], "has no key"),
        (&nobody, &[], "--descriptor"),
    ];
    for (addr, flags, word) in cases {
        let (code, stdout, stderr) = ask(addr, flags);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(word), "{flags:?}: {stderr}");
    }
}

#[test]
fn three_calls_are_ok_and_the_fourth_is_over_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", dir.path().join("grpc.sock").display());
    let server = TestServer::start(THREE_A_MINUTE, &["--grpc-addr", &address]);
    let flags = ["--descriptor", "key=v", "--descriptor", "other=v"];
    let (code, stdout, _) = ask(&server.grpc, &flags);
    assert_eq!(code, Some(0), "{stdout}");
    let wanted = "OK\n  descriptor 1: OK, limit 3 per minute, remaining 2, reset in ";
    assert!(stdout.starts_with(wanted) && stdout.ends_with("descriptor 2: OK, no limit\n"), "{stdout}");
    assert_eq!(ask(&server.grpc, &["--descriptor", "key=v", "--hits", "2"]).0, Some(0));
    let (code, stdout, _) = ask(&server.grpc, &["--descriptor", "key=v", "--json"]);
    assert_eq!(code, Some(1), "{stdout}");
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(answer["overallCode"], "OVER_LIMIT", "{answer}");
}
