//! One experiment: a configuration, Tidegate, and Envoy in front of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::bootstrap::Gateway;
use crate::client::Client;
use crate::proxy::{self, Envoy};
use crate::server::TestServer;

/// Everything that runs, in the order in which it is to be stopped.
pub(crate) struct Lab {
    pub(crate) envoy: Envoy,
    pub(crate) replicas: Vec<TestServer>,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Starts Tidegate with `rules` and Envoy as `gateway` says; nothing when there is no Envoy to start.
    pub(crate) fn open(rules: &str, gateway: Gateway) -> Option<Self> {
        let bootstrap = |rls: &[SocketAddr], dir: &Path| gateway.bootstrap(rls, &dir.join("service.sock"));
        Self::open_with(rules, gateway, &[], bootstrap)
    }

    /// As [`open`](Self::open), with flags for Tidegate and another bootstrap configuration, made from Tidegate's addresses and a
    /// directory. `REPLICA` in a flag is the number of the replica.
    pub(crate) fn open_with(
        rules: &str,
        gateway: Gateway,
        flags: &[String],
        bootstrap: impl FnOnce(&[SocketAddr], &Path) -> String,
    ) -> Option<Self> {
        let binary = proxy::installed()?;
        let turn = my_turn();
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("rules.yaml");
        fs::write(&config, rules).unwrap();
        let start = |replica: usize| {
            let flags: Vec<_> = flags.iter().map(|flag| flag.replace("REPLICA", &replica.to_string())).collect();
            let flags: Vec<_> = ["--drain", "1s"].into_iter().chain(flags.iter().map(String::as_str)).collect();
            TestServer::start_file(&config, &flags)
        };
        let replicas: Vec<_> = (0..gateway.replicas).map(start).collect();
        let addresses: Vec<_> = replicas.iter().map(TestServer::grpc_addr).collect();
        let envoy = Envoy::start(&binary, dir.path(), &bootstrap(&addresses, dir.path()), gateway.workers);
        Some(Self { envoy, replicas, dir, _turn: turn })
    }

    /// The first Tidegate.
    pub(crate) fn tidegate(&mut self) -> &mut TestServer {
        &mut self.replicas[0]
    }

    /// A client of the gateway.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.envoy.gateway)
    }

    /// Puts other rules in place as an editor or a deployment would: a new file, moved over the old one.
    pub(crate) fn replace_rules(&self, rules: &str) {
        let new = self.dir.path().join("rules.new");
        fs::write(&new, rules).unwrap();
        fs::rename(new, self.config()).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("rules.yaml")
    }
}

/// Waits until no other experiment runs: several of them on two cores would disturb each other's timeouts.
pub(crate) fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
