//! The plan of a run.

use std::time::Duration;

use super::schedule::Pace;
use super::traffic::Traffic;
use crate::net::{Address, TlsClient};
use crate::runtime::Process;

/// The plan of a run: the server, the checks and their rate.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    pub target: Address,
    /// How it is called with TLS; `None`: in plain text.
    pub tls: Option<TlsClient>,
    /// The content of checks.
    pub traffic: Traffic,
    /// The rate of checks.
    pub pace: Pace,
    /// The number of connections, from 1.
    pub connections: usize,
    /// The maximum number of checks in flight on each connection, from 1.
    pub streams: usize,
    /// The number of threads, from 1 to the number of connections, which are distributed over them.
    pub threads: usize,
    /// The warm-up time, in which checks do not count.
    pub warmup: Duration,
    /// The time in which checks count.
    pub duration: Duration,
    /// The seed of random choices: the same seed, keys and threads give the same checks.
    pub seed: u64,
    /// The server's process, if its cost is to be measured.
    pub server: Option<Process>,
}

impl Plan {
    /// The `:authority` of requests.
    pub(super) fn authority(&self) -> String {
        match &self.target {
            Address::Tcp(address) => address.clone(),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The server, as a user names it.
    pub(super) fn url(&self) -> String {
        if self.tls.is_some() { format!("https://{}", self.target) } else { self.target.to_string() }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }
}
