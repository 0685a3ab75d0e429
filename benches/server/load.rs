//! The load of one measurement.

use std::process::Command;
use std::str::FromStr;

/// The load on a server.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    /// Checks per second; `None`: as many as are answered.
    pub(crate) rate: Option<f64>,
    pub(crate) keys: usize,
    pub(crate) distribution: String,
    pub(crate) descriptors: usize,
    pub(crate) entries: usize,
    /// Durations in the format of `tidegate bench`.
    pub(crate) duration: String,
    pub(crate) warmup: String,
    /// Whether this is only a smoke test.
    pub(crate) is_small: bool,
    /// The cores of the generator.
    pub(crate) cores: Vec<usize>,
}

/// Connections x streams of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) streams: usize,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('x').and_then(|(left, right)| Some((left.parse().ok()?, right.parse().ok()?)));
        let (connections, streams) = parts.ok_or_else(|| format!("{text}: not CONNECTIONSxSTREAMS, such as 4x32"))?;
        Ok(Self { connections, streams })
    }
}

impl Load {
    /// The rules that a server of this load needs.
    pub(crate) fn rules(&self) -> String {
        let mut command = Command::new(TIDEGATE);
        command.args(["bench", "--print-rules"]).args(self.traffic());
        printed(command)
    }

    pub(crate) fn traffic(&self) -> [String; 8] {
        let numbers = [self.keys, self.descriptors, self.entries].map(|number| number.to_string());
        let [keys, descriptors, entries] = numbers;
        let distribution = self.distribution.clone();
        let flag = |name: &str| format!("--{name}");
        [
            flag("keys"),
            keys,
            flag("descriptors"),
            descriptors,
            flag("entries"),
            entries,
            flag("distribution"),
            distribution,
        ]
    }
}

/// The output of a command, which must succeed.
pub(crate) fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The binary of this build.
pub(crate) const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
