//! The programs that the tests run.

use std::io::Write;
use std::process::{Command, Stdio};
use std::{env, thread};

/// A program that a variable names.
#[derive(Clone, Debug)]
pub(crate) struct Tool(String);

impl Tool {
    pub(crate) fn helm() -> Option<Self> {
        Self::named("HELM_BIN", &["version"])
    }

    pub(crate) fn kustomize() -> Option<Self> {
        Self::named("KUSTOMIZE_BIN", &["version"])
    }

    pub(crate) fn kubernetes_validate() -> Option<Self> {
        Self::named("KUBERNETES_VALIDATE_BIN", &["--version"])
    }

    pub(crate) fn promtool() -> Option<Self> {
        Self::named("PROMTOOL_BIN", &["--version"])
    }

    pub(crate) fn prometheus() -> Option<Self> {
        Self::named("PROMETHEUS_BIN", &["--version"])
    }

    pub(crate) fn kube_apiserver() -> Option<Self> {
        Self::named("KUBE_APISERVER_BIN", &["--version"])
    }

    pub(crate) fn etcd() -> Option<Self> {
        Self::named("ETCD_BIN", &["--version"])
    }

    /// To start it.
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.0)
    }

    /// The program; without it, the test is skipped.
    fn named(variable: &str, version: &[&str]) -> Option<Self> {
        let found = env::var(variable).ok().filter(|name| !name.is_empty());
        let why = match &found {
            None if ["KUBE_APISERVER_BIN", "ETCD_BIN"].contains(&variable) => {
                format!("{variable} is not set (scripts/kube-apiserver builds it)")
            }
            None => format!("{variable} is not set (./test sets it, or says why it cannot)"),
            Some(name) => match Command::new(name).args(version).output() {
                Ok(output) if output.status.success() => return found.map(Self),
                Ok(output) => format!("{name} {} ended with {}", version.join(" "), output.status),
                Err(error) => format!("{name} does not run: {error}"),
            },
        };
        skip(&why);
        None
    }

    /// Runs it: what it wrote to standard output, or to both if it failed.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.0).args(args).stdin(Stdio::null()).output().unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        if output.status.success() { Ok(out) } else { Err(out + &err) }
    }
}

/// Says why this test is skipped, on the real standard error, past the test's capture.
pub(crate) fn skip(why: &str) {
    let test = thread::current().name().unwrap_or_default().to_owned();
    let _closed = std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
}

/// The path of a file or directory of the repository.
pub(crate) fn in_repository(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}
