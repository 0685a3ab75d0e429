//! What h2spec, the conformance tests of HTTP/2 and HPACK, says of the gRPC port.
//!
//! `H2SPEC_BIN` names it (`./test` builds one). Without it the test says `SKIPPED` and passes.

use std::env;
use std::io::Write;
use std::process::Command;

use crate::server::{THREE_A_MINUTE, TestServer};

/// Every case of it holds on our own front end, which has an answer to GET; on the `h2` crate's, those may fail that need one.
#[test]
fn the_grpc_port_conforms() {
    let Some(h2spec) = env::var("H2SPEC_BIN").ok().filter(|name| !name.is_empty()) else {
        let why = "SKIPPED: the_grpc_port_conforms: H2SPEC_BIN is not set (./test sets it, or says why it cannot)\n";
        let _ = std::io::stderr().write_all(why.as_bytes());
        return;
    };
    for front_end in ["lean", "h2"] {
        let server = TestServer::start(THREE_A_MINUTE, &["--http2", front_end]);
        let address = server.grpc_addr();
        let mut command = Command::new(&h2spec);
        // The time that it waits for what should not come.
        command.args(["--timeout", "4", "--host", "127.0.0.1", "--port", &address.port().to_string()]);
        let output = command.output().unwrap_or_else(|error| panic!("{h2spec} does not run: {error}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let summary = said.lines().rev().find(|line| line.contains(" passed, ")).unwrap_or_default();
        let [all, passed, skipped, failed] = counts(summary);
        let failures: Vec<_> = said.lines().filter(|line| line.contains("\u{d7}")).map(str::trim).collect();
        assert!(all >= 140 && all == passed + skipped + failed, "{front_end}: {said}");
        if front_end == "lean" {
            assert_eq!((failed, skipped), (0, 0), "{front_end}: {summary} {failures:#?}");
        } else {
            assert!(failed <= MAX_FAILED_ON_H2, "{front_end}: {summary} {failures:#?}");
        }
    }
}

/// The numbers of `146 tests, 145 passed, 1 skipped, 0 failed`.
fn counts(summary: &str) -> [usize; 4] {
    let mut numbers = summary.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    [(); 4].map(|()| numbers.next().unwrap_or(usize::MAX))
}

/// Those that need an answer with DATA to a GET, or one that is not there before the next frame.
const MAX_FAILED_ON_H2: usize = 8;
