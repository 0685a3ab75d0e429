//! What to ask, how often, and whom.

use std::time::Duration;

use super::schedule::Pace;
use super::traffic::Traffic;
use crate::net::Address;
use crate::runtime::Process;

/// What to ask, how often, and whom.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    pub target: Address,
    /// What each check asks for.
    pub traffic: Traffic,
    /// How checks follow each other.
    pub pace: Pace,
    /// Connections, from 1.
    pub connections: usize,
    /// Checks that may be under way on each connection, from 1.
    pub streams: usize,
    /// Threads, from 1 to the number of connections, which are dealt out to them.
    pub threads: usize,
    /// The time before checks count.
    pub warmup: Duration,
    /// The time in which they do.
    pub duration: Duration,
    /// The same seed, keys and threads give the same checks.
    pub seed: u64,
    /// The server's process, if its cost is to be measured.
    pub server: Option<Process>,
}

impl Plan {
    /// What the server is called in requests.
    pub(super) fn authority(&self) -> String {
        match &self.target {
            Address::Tcp(address) => address.clone(),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }
}
