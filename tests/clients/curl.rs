//! curl, which has HTTP/2 of nghttp2 and knows nothing of gRPC.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bodies::{CHECK, HEALTH, REFLECTION, WATCH, check, health, list};
use crate::program::installed;
use crate::server::{DEADLINE, TestServer, eventually, wait_for};
use crate::{FRONT_ENDS, RULES, arrived, until_delayed};

#[test]
fn curl_is_answered() {
    each(&[], |curl| {
        let dir = curl.dir.path();
        for (path, body, part) in [
            (CHECK, check(dir, "free", "v"), &b"\x08\x01"[..]),
            (CHECK, check(dir, "free", &"v".repeat(LARGEST_VALUE)), b"\x08\x01"),
            (HEALTH, health(dir), b"\0\0\0\0\x02\x08\x01"),
            (REFLECTION, list(dir), b"envoy.service.ratelimit.v3.RateLimitService"),
        ] {
            let (code, head, answer) = curl.call(path, &body, &[]);
            assert_eq!(code, Some(0), "{path}: {head}");
            assert!(head.contains("grpc-status: 0"), "{path}: {head}");
            assert!(answer.windows(part.len()).any(|at| at == part), "{path}: {answer:?}");
        }
        // As below: the answer may be there before curl has sent its five bytes.
        let (code, head, _) = curl.call("/nope.Service/Method", &health(dir), &[]);
        assert!(head.contains("grpc-status: 12") || code == Some(STREAM_ERROR), "{code:?} {head}");
    });
}

/// Versions of curl take the reset that follows the answer, while they still send, for a failure.
#[test]
fn a_message_of_curl_that_is_too_large_is_rejected() {
    each(&[], |curl| {
        let (code, head, _) = curl.call(CHECK, &check(curl.dir.path(), "free", &"v".repeat(LARGEST_VALUE + 1)), &[]);
        assert!(head.contains("grpc-status: 11") || code == Some(STREAM_ERROR), "{code:?} {head}");
        assert_eq!(arrived(&curl.server, "free"), 0);
        let (_, head, _) = curl.call(CHECK, &check(curl.dir.path(), "free", "v"), &[]);
        assert!(head.contains("grpc-status: 0"), "{head}");
    });
}

#[test]
fn curl_leaves_before_the_answer() {
    each(&[], |curl| {
        let dir = curl.dir.path();
        let never = check(dir, "never", "v");
        assert_eq!(curl.call(CHECK, &never, &[]).0, Some(0));
        let (code, head, _) = curl.call(CHECK, &never, &["--max-time", "0.5"]);
        assert_eq!(code, Some(TIMED_OUT), "{head}");
        until_delayed(&curl.server, 0);
        // A deadline that is known is no reason to wait.
        assert_eq!(curl.call(CHECK, &never, &["--header", "grpc-timeout: 1S"]).0, Some(0));
        let (code, head, answer) = curl.call(WATCH, &health(dir), &["--max-time", "1"]);
        assert!(code == Some(TIMED_OUT) && answer.ends_with(b"\0\0\0\0\x02\x08\x01"), "{code:?}: {head}");
        assert_eq!(curl.call(HEALTH, &health(dir), &[]).0, Some(0));
    });
}

/// Versions of curl lose the trailers when the connection ends with them; the message is there.
#[test]
fn what_curl_waits_for_is_answered_when_the_server_stops() {
    each(&["--drain", "0s", "--shutdown-deadline", "50s"], |curl| {
        let body = check(curl.dir.path(), "turn", "v");
        let mut calls: Vec<_> = (0..10).map(|n| (curl.start(CHECK, &body, &n.to_string(), &[]), n)).collect();
        eventually("their arrival", || arrived(&curl.server, "turn") == 10);
        curl.server.signal("TERM");
        for (call, n) in &mut calls {
            let status = wait_for("curl's end", DEADLINE, || call.try_wait().unwrap());
            let answer = fs::read(curl.output(&n.to_string())).unwrap();
            assert!(status.success() && answer.windows(2).any(|at| at == b"\x08\x01"), "{status}: {answer:?}");
        }
        assert_eq!(curl.server.wait().code(), Some(0));
    });
}

/// A server, and curl to ask it with.
struct Curl {
    program: String,
    server: TestServer,
    dir: TempDir,
}

fn each(flags: &[&str], act: impl Fn(&mut Curl)) {
    let Some(program) = installed("CURL_BIN") else { return };
    for front_end in FRONT_ENDS {
        let server = TestServer::start(RULES, &[&["--http2", front_end], flags].concat());
        act(&mut Curl { program: program.clone(), server, dir: TempDir::new().unwrap() });
    }
}

impl Curl {
    /// The headers, the body and the trailers go to one file.
    fn start(&self, path: &str, body: &Path, ending: &str, flags: &[&str]) -> Child {
        let mut command = Command::new(&self.program);
        command.args(["--silent", "--http2-prior-knowledge", "--no-buffer", "--max-time", "60"]);
        command.args(["--header", "content-type: application/grpc", "--header", "te: trailers"]);
        command.arg("--data-binary").arg(format!("@{}", body.display()));
        command.arg("--include").arg("--output").arg(self.output(ending));
        command.args(flags).arg(format!("http://{}{path}", self.server.grpc)).stdin(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("{} does not run: {error}", self.program))
    }

    fn output(&self, ending: &str) -> PathBuf {
        self.dir.path().join(format!("output{ending}"))
    }

    /// How it ended, and the headers, body and trailers as text and as they are.
    fn call(&self, path: &str, body: &Path, flags: &[&str]) -> (Option<i32>, String, Vec<u8>) {
        let mut process = self.start(path, body, "", flags);
        let status = wait_for("curl's end", DEADLINE, || process.try_wait().unwrap());
        let answer = fs::read(self.output("")).unwrap_or_default();
        let _none = fs::remove_file(self.output(""));
        (status.code(), String::from_utf8_lossy(&answer).into_owned(), answer)
    }
}

/// With 26 bytes around it: 4 MiB.
const LARGEST_VALUE: usize = (4 << 20) - 26;

/// Exit statuses of curl.
const TIMED_OUT: i32 = 28;
const STREAM_ERROR: i32 = 92;
