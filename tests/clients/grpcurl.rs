//! grpcurl, which learns from the server what there is to ask.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use serde_json::{Value, json};

use crate::program::installed;
use crate::server::{DEADLINE, TestServer, eventually};
use crate::{FRONT_ENDS, RULES, arrived, until_delayed};

const CHECK: &str = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

#[test]
fn grpcurl_is_answered() {
    each(&[], |grpcurl| {
        let (success, output) = grpcurl.start(&["-d", "@"], CHECK, &check("few", "v", 1)).end();
        assert!(success && output.contains("OK"), "{output}");
        let (success, output) = grpcurl.start(&["-d", "@"], "grpc.health.v1.Health/Check", &json!({})).end();
        assert!(success && output.contains("SERVING"), "{output}");
        let (success, output) = grpcurl.start(&["-max-time", "1"], "grpc.health.v1.Health/Watch", &json!({})).end();
        assert!(!success && output.contains("SERVING") && output.contains("DeadlineExceeded"), "{output}");
        let (success, output) = grpcurl.start(&[], "list", &json!({})).end();
        assert!(success && output.contains("envoy.service.ratelimit.v3.RateLimitService"), "{output}");
    });
}

#[test]
fn grpcurl_sends_large_messages() {
    each(&[], |grpcurl| {
        let (success, output) = grpcurl.start(&["-d", "@"], CHECK, &check("free", &"v".repeat(1_000), 1_000)).end();
        assert!(success && output.matches(r#""code": "OK""#).count() == 1_000, "{output}");
        let (success, output) = grpcurl.start(&["-d", "@"], CHECK, &check("free", "v", 1_001)).end();
        assert!(!success && output.contains("InvalidArgument") && output.contains("1000"), "{output}");
        let (success, output) = grpcurl.start(&["-d", "@"], CHECK, &check("free", &"v".repeat(4 << 20), 1)).end();
        assert!(!success && output.contains("OutOfRange"), "{output}");
    });
}

#[test]
fn grpcurl_leaves_before_the_answer() {
    each(&[], |grpcurl| {
        let never = check("never", "v", 1);
        assert!(grpcurl.start(&["-d", "@"], CHECK, &never).end().0);
        // A deadline that is known is no reason to wait.
        let (success, output) = grpcurl.start(&["-max-time", "30", "-d", "@"], CHECK, &never).end();
        assert!(success && output.contains("OVER_LIMIT"), "{output}");
        let mut leaving = grpcurl.start(&["-d", "@"], CHECK, &never);
        until_delayed(&grpcurl.server, 1);
        leaving.0.kill().unwrap();
        leaving.0.wait().unwrap();
        until_delayed(&grpcurl.server, 0);
    });
}

#[test]
fn what_grpcurl_waits_for_is_answered_when_the_server_stops() {
    each(&["--drain", "0s", "--shutdown-deadline", "50s"], |grpcurl| {
        let calls: Vec<_> = (0..6).map(|_| grpcurl.start(&["-d", "@"], CHECK, &check("turn", "v", 1))).collect();
        eventually("their arrival", || arrived(&grpcurl.server, "turn") == 6);
        grpcurl.server.signal("TERM");
        for call in calls {
            let (success, output) = call.end();
            assert!(success && output.contains("OK"), "{output}");
        }
        assert_eq!(grpcurl.server.wait().code(), Some(0));
    });
}

/// A check of so many descriptors.
fn check(key: &str, value: &str, descriptors: usize) -> Value {
    json!({"domain": "api", "descriptors": vec![json!({"entries": [{"key": key, "value": value}]}); descriptors]})
}

/// A server, and grpcurl to ask it with.
struct Grpcurl {
    program: String,
    server: TestServer,
}

fn each(flags: &[&str], act: impl Fn(&mut Grpcurl)) {
    let Some(program) = installed("GRPCURL_BIN") else { return };
    for front_end in FRONT_ENDS {
        let server = TestServer::start(RULES, &[&["--http2", front_end], flags].concat());
        act(&mut Grpcurl { program: program.clone(), server });
    }
}

impl Grpcurl {
    /// With `-d @` the message comes from standard input.
    fn start(&self, flags: &[&str], what: &str, message: &Value) -> Running {
        let mut command = Command::new(&self.program);
        command.arg("-plaintext").args(flags).args([&self.server.grpc, what]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{} does not run: {error}", self.program));
        // Without that flag nobody reads it.
        let _unread = process.stdin.take().unwrap().write_all(message.to_string().as_bytes());
        Running(process)
    }
}

struct Running(Child);

impl Running {
    /// Whether it succeeded, and what it printed.
    fn end(self) -> (bool, String) {
        let (send, ended) = channel();
        // What it prints may be more than a pipe holds.
        thread::spawn(move || send.send(self.0.wait_with_output().unwrap()));
        let output = ended.recv_timeout(DEADLINE).expect("grpcurl's end");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}
