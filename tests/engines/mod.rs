//! Real engines of shared counters on loopback: Redis and Valkey, alone, behind sentinels, or as a cluster.
//!
//! `./test` installs them and names them in `REDIS_7_BIN` and so on. A missing one is `SKIPPED` by name.

mod process;
mod sets;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

pub(crate) use process::Engine;
pub(crate) use sets::{Cluster, Sentinels};

/// The servers that tests run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis7,
    Redis8,
    Valkey8,
    Valkey9,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Redis7, Self::Redis8, Self::Valkey8, Self::Valkey9];

    /// The installed ones; each missing one is reported as skipped.
    pub(crate) fn installed() -> Vec<Self> {
        let is_there = |kind: &Self| match kind.find() {
            Ok(_) => true,
            Err(why) => {
                skip(&format!("{kind:?}: {why}"));
                false
            }
        };
        Self::ALL.into_iter().filter(is_there).collect()
    }

    /// The first installed one, for tests in which it does not matter which one it is.
    pub(crate) fn any() -> Option<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.find().is_ok());
        if found.is_none() {
            skip("no engine is installed (./test installs them, or says why it cannot)");
        }
        found
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Redis7 => "REDIS_7_BIN",
            Self::Redis8 => "REDIS_8_BIN",
            Self::Valkey8 => "VALKEY_8_BIN",
            Self::Valkey9 => "VALKEY_9_BIN",
        }
    }

    /// Its program, or why it is not there.
    pub(crate) fn find(self) -> Result<PathBuf, String> {
        let name = self.variable();
        let binary = env::var_os(name).filter(|path| !path.is_empty());
        let binary = binary.ok_or(format!("{name} is not set (./test sets it, or says why it cannot)"))?;
        match Command::new(&binary).arg("--version").output() {
            Ok(output) if output.status.success() => Ok(binary.into()),
            Ok(output) => Err(format!("{} --version ended with {}", binary.display(), output.status)),
            Err(error) => Err(format!("{} does not run: {error}", binary.display())),
        }
    }
}

/// Reports on the real standard error, past the test's capture.
pub(crate) fn skip(why: &str) {
    let test = thread::current().name().unwrap_or_default().to_owned();
    let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes());
}
