//! The commands that clients take: one in, an answer out.
//!
//! | command | answer |
//! | --- | --- |
//! | `check KEY VALUE [TIMEOUT_MS]` | the overall code, or that of the status |
//! | `large DESCRIPTORS VALUE_BYTES` | the overall code and the number of statuses, or the code of the status |
//! | `health [SERVICE]` | the state, or the code of the status |
//! | `watch [TIMEOUT_MS]`, `next` | begins to watch the health: the first state, the next one |
//! | `unwatch` | ends that: the code of the status |
//! | `services` | those that reflection lists |
//! | `hold COUNT KEY` | sends checks at the same time, and does not wait for them |
//! | `cancel COUNT`, `join` | cancels some of these, or waits for them: how many had which outcome |
//! | `load CALLERS KEY` | checks again and again |
//! | `stop` | until now: how many had which outcome |

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::program::Program;
use crate::server::TestServer;
use crate::tonic_client::TonicClient;
use crate::{FRONT_ENDS, RULES};

/// A client with one channel.
pub(crate) trait Client {
    /// Does it, and returns the answer.
    fn ask(&mut self, command: &str) -> String;
}

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Go,
    Python,
    Tonic,
}

impl Kind {
    /// `None`: it is not installed.
    fn connect(self, address: &str) -> Option<Box<dyn Client>> {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/client.py");
        match self {
            Self::Go => Some(Box::new(Program::start("GRPC_GO_CLIENT_BIN", &[address])?)),
            Self::Python => Some(Box::new(Program::start("GRPC_PYTHON_BIN", &[python, address])?)),
            Self::Tonic => Some(Box::new(TonicClient::connect(address))),
        }
    }
}

/// Does this with each client on each front end, on a server of its own with these flags.
pub(crate) fn each(flags: &[&str], act: impl Fn(&mut dyn Client, &mut TestServer)) {
    each_but(&[], flags, act);
}

/// The same, without those.
pub(crate) fn each_but(without: &[(&str, Kind)], flags: &[&str], act: impl Fn(&mut dyn Client, &mut TestServer)) {
    for front_end in FRONT_ENDS {
        for kind in [Kind::Go, Kind::Python, Kind::Tonic] {
            if without.contains(&(front_end, kind)) {
                continue;
            }
            let mut server = TestServer::start(RULES, &[&["--http2", front_end], flags].concat());
            let Some(mut client) = kind.connect(&server.grpc) else { continue };
            catch_unwind(AssertUnwindSafe(|| act(&mut *client, &mut server))).unwrap_or_else(|failure| {
                eprintln!("--- that was {kind:?} on {front_end}\n{}", server.log().join("\n"));
                resume_unwind(failure);
            });
        }
    }
}

/// Tells the client these commands, one after the other, and compares what it answers.
#[track_caller]
pub(crate) fn expect(client: &mut dyn Client, script: &[(&str, &str)]) {
    for (command, want) in script {
        assert_eq!(client.ask(command), *want, "{command}");
    }
}
