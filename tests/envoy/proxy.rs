//! The Envoy process: started with a bootstrap configuration on free ports, asked through its admin interface.

use std::env;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::server::wait_for;

/// A running Envoy, killed when dropped.
pub(crate) struct Envoy {
    pub(crate) process: Child,
    dir: PathBuf,
    admin: SocketAddr,
    /// Where the listener named `gateway` answers.
    pub(crate) gateway: SocketAddr,
}

impl Envoy {
    /// Starts Envoy with the bootstrap text, whose own files go to `dir`.
    pub(crate) fn start(binary: &Path, dir: &Path, bootstrap: &str, workers: usize) -> Self {
        Self::start_by(Command::new(binary), dir, bootstrap, workers)
    }

    /// As [`start`](Self::start), by a command that becomes Envoy.
    pub(crate) fn start_by(mut command: Command, dir: &Path, bootstrap: &str, workers: usize) -> Self {
        let config = dir.join("envoy.yaml");
        fs::write(&config, bootstrap).unwrap();
        command.arg("--config-path").arg(&config).arg("--log-path").arg(dir.join("envoy.log"));
        command.arg("--admin-address-path").arg(dir.join("admin")).args(["--concurrency", &workers.to_string()]);
        command.args(["--disable-hot-restart", "--log-level", "warning", "--file-flush-interval-msec", "50"]);
        let output = fs::File::create(dir.join("envoy.out")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut envoy =
            Self { process: command.spawn().unwrap(), dir: dir.to_owned(), admin: NOWHERE, gateway: NOWHERE };
        envoy.learn_addresses();
        envoy
    }

    fn learn_addresses(&mut self) {
        self.admin = wait_for("Envoy's admin interface", STARTUP, || {
            assert_eq!(self.process.try_wait().unwrap(), None, "Envoy ended:\n{}", self.log());
            fs::read_to_string(self.dir.join("admin")).ok()?.trim().parse().ok()
        });
        self.gateway = wait_for("Envoy's listeners", STARTUP, || {
            if self.ask("/ready").trim() != "LIVE" {
                return None;
            }
            self.listener("gateway")
        });
    }

    /// Where the listener of this name answers.
    pub(crate) fn listener(&self, name: &str) -> Option<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.ask("/listeners?format=json")).unwrap();
        let all = listeners["listener_statuses"].as_array()?;
        let listener = all.iter().find(|listener| listener["name"] == name)?;
        let socket = &listener["local_address"]["socket_address"];
        format!("{}:{}", socket["address"].as_str()?, socket["port_value"]).parse().ok()
    }

    /// What the admin interface answers to a path.
    fn ask(&self, path: &str) -> String {
        Client::to(self.admin).get(path, &[]).body
    }

    /// A counter or a gauge by its full name; one that was never touched is 0.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats = self.ask(&format!("/stats?filter=^{}$", name.replace('.', r"\.")));
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// How many checks were answered with an error or not at all.
    pub(crate) fn rls_errors(&self) -> u64 {
        self.stat("cluster.upstream.ratelimit.error")
    }

    /// What it has written to standard output and standard error.
    pub(crate) fn output(&self) -> String {
        self.read("envoy.out")
    }

    fn log(&self) -> String {
        self.read("envoy.log") + &self.output()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("--- Envoy's log\n{}", self.log());
        }
    }
}

/// The Envoy to test with, or why there is none; the latter goes to the real standard error, past the test's capture.
pub(crate) fn installed() -> Option<PathBuf> {
    let found = find();
    if let Err(why) = &found {
        let test = thread::current().name().unwrap_or_default().to_owned();
        let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
    }
    found.ok()
}

/// The Envoy to test with, or why there is none.
pub(crate) fn find() -> Result<PathBuf, String> {
    let binary = env::var_os("ENVOY_BIN")
        .filter(|name| !name.is_empty())
        .ok_or("ENVOY_BIN is not set (./test sets it, or says why it cannot)")?;
    let version = Command::new(&binary).arg("--version").output();
    match version {
        Ok(output) if output.status.success() => Ok(binary.into()),
        Ok(output) => Err(format!("{} --version ended with {}", binary.display(), output.status)),
        Err(error) => Err(format!("{} does not run: {error}", binary.display())),
    }
}

/// Envoy takes about a second; a loaded machine may take many.
const STARTUP: Duration = Duration::from_mins(1);

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
