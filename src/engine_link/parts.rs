//! The parts of what operators changed, on the engine: texts, and a table with the version of each.
//!
//! ```text
//! PREFIX{changes}       the versions of all parts, 16 characters each
//! PREFIX{changes}N      the text of part N
//! ```
//! All keys share a slot. A text is written only in place of the version that was read, in one step with its new version. Versions are random: an engine
//! that lost its last writes gives no version twice.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{Cmd, Script, Value};

use super::connection::Connection;
use super::error::{LinkError, Remedy};
use super::key::KeyPrefix;
use super::node::Node;
use super::node_counts::RequestKind;
use super::slot::slot_of;
use crate::units::{Nanos, Timestamp};

/// The version of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartVersion([u8; VERSION_BYTES]);

/// The parts on one node, over a connection of their own: a long text keeps no probe and no check waiting.
#[derive(Debug)]
pub struct Parts {
    names: PartNames,
    /// The longest text of each part.
    most_bytes: fn(usize) -> usize,
    connection: Option<(Arc<Node>, Connection)>,
}

/// The names of the keys.
#[derive(Clone, Debug)]
struct PartNames {
    table: String,
    count: usize,
}

/// What is read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadParts {
    /// The version of every part.
    pub versions: Vec<PartVersion>,
    /// The text of each part that was asked for; `None`: there is none, or something that is not ours.
    pub texts: Vec<Option<String>>,
    /// Values that are not ours.
    pub foreign: usize,
}

impl PartVersion {
    /// That of a part that is not there.
    pub const NONE: Self = Self([b'-'; VERSION_BYTES]);

    /// A version that no other write has: from 64 random bits.
    pub fn new(random: u64) -> Self {
        let mut bytes = [0; VERSION_BYTES];
        for (byte, digit) in bytes.iter_mut().zip(format!("{random:016x}").bytes()) {
            *byte = digit;
        }
        Self(bytes)
    }
}

impl Parts {
    /// `count` parts below this prefix, with texts of so many bytes at most. Nothing is connected yet.
    pub fn new(prefix: &KeyPrefix, count: usize, most_bytes: fn(usize) -> usize) -> Self {
        let names = PartNames { table: format!("{}{{changes}}", prefix.as_str()), count };
        Self { names, most_bytes, connection: None }
    }

    /// The slot of a cluster in which they are.
    pub fn slot(&self) -> u16 {
        slot_of(&self.names.table)
    }

    /// Reads the versions of all parts, and the texts of some, from this node.
    ///
    /// # Errors
    /// See [`LinkError`]. The connection is made again by the next call, if it has to be.
    pub async fn read(&mut self, node: &Arc<Node>, parts: &[usize]) -> Result<ReadParts, LinkError> {
        let (names, most_bytes) = (self.names.clone(), self.most_bytes);
        let request = |mut command: Cmd| {
            command.arg(parts.len() + 1).arg(&names.table);
            for part in parts {
                command.arg(names.part(*part));
            }
            command.arg(names.count * VERSION_BYTES);
            for part in parts {
                command.arg(most_bytes(*part));
            }
            command
        };
        let reply = self.run(node, &READ, READ_TEXT, request).await?;
        read_reply(&reply, names.count, parts.len()).ok_or(LinkError::Malformed)
    }

    /// Writes a part in place of the version that was read, until `expiry` by the engine's clock. False: another version is there.
    ///
    /// # Errors
    /// As for [`read`](Self::read). It may have been written.
    pub async fn write(
        &mut self,
        node: &Arc<Node>,
        part: usize,
        versions: (PartVersion, PartVersion),
        text: &str,
        expiry: Timestamp,
    ) -> Result<bool, LinkError> {
        let (names, (before, after)) = (self.names.clone(), versions);
        let request = |mut command: Cmd| {
            command.arg(2).arg(&names.table).arg(names.part(part)).arg(part + 1).arg(&before.0).arg(&after.0).arg(text);
            command.arg(expiry.as_ns() / 1_000_000).arg(names.count);
            command
        };
        match self.run(node, &WRITE, WRITE_TEXT, request).await? {
            Value::Int(written) => Ok(written == 1),
            _ => Err(LinkError::Malformed),
        }
    }

    /// Runs a script by its hash, or with its text if the node does not know it.
    async fn run(
        &mut self,
        node: &Arc<Node>,
        script: &Script,
        text: &str,
        request: impl Fn(Cmd) -> Cmd,
    ) -> Result<Value, LinkError> {
        let result = self.try_run(node, script, text, request).await;
        if let Err(error) = &result {
            node.counts().count_error(error);
            // An error reply is one over a connection that is whole.
            if !matches!(error, LinkError::Rejected { .. }) {
                self.connection = None;
            }
        }
        result
    }

    async fn try_run(
        &mut self,
        node: &Arc<Node>,
        script: &Script,
        text: &str,
        request: impl Fn(Cmd) -> Cmd,
    ) -> Result<Value, LinkError> {
        let by = |name: &str, what: &str| {
            let mut command = redis::cmd(name);
            command.arg(what);
            request(command)
        };
        let connection = self.connection_to(node).await?;
        node.counts().count_request(RequestKind::Changes);
        match connection.ask(by("EVALSHA", script.get_hash()), ANSWER_TIMEOUT).await {
            Err(error) if error.remedy() == Remedy::SendScript => {
                node.counts().count_request(RequestKind::Script);
                connection.ask(by("EVAL", text), ANSWER_TIMEOUT).await
            }
            other => other,
        }
    }

    async fn connection_to(&mut self, node: &Arc<Node>) -> Result<&Connection, LinkError> {
        let is_usable = |(to, connection): &(Arc<Node>, Connection)| Arc::ptr_eq(to, node) && !connection.has_ended();
        let kept = match self.connection.take().filter(is_usable) {
            Some(kept) => kept,
            None => (Arc::clone(node), node.connect().await?),
        };
        Ok(&self.connection.insert(kept).1)
    }
}

impl PartNames {
    fn part(&self, part: usize) -> String {
        format!("{}{part}", self.table)
    }
}

/// The commands of both scripts, to find out whether they may be used. They write a part that does not exist, which expires at once.
pub(super) fn trials(prefix: &KeyPrefix, expiry: Timestamp) -> [(&'static str, Cmd); 2] {
    let table = format!("{}{{store-check}}", prefix.as_str());
    let part = format!("{table}0");
    let mut write = redis::cmd("EVAL");
    write.arg(WRITE_TEXT).arg(2).arg(&table).arg(&part).arg(1).arg(&PartVersion::NONE.0).arg(&PartVersion::NONE.0);
    write.arg("{}").arg(expiry.as_ns() / 1_000_000).arg(1);
    let mut read = redis::cmd("EVAL");
    read.arg(READ_TEXT).arg(2).arg(&table).arg(&part).arg(VERSION_BYTES).arg(VERSION_BYTES);
    [("SET with PXAT", write), ("GET", read)]
}

/// `None`: it is not that of the script.
fn read_reply(reply: &Value, count: usize, asked: usize) -> Option<ReadParts> {
    let Value::Array(values) = reply else { return None };
    let (table, texts) = values.split_first()?;
    if texts.len() != asked {
        return None;
    }
    let mut foreign = 0;
    let versions = match value_of(table)? {
        Found::Value(bytes) if bytes.len() == count * VERSION_BYTES => {
            bytes.chunks_exact(VERSION_BYTES).filter_map(|chunk| chunk.try_into().ok().map(PartVersion)).collect()
        }
        found => {
            foreign += usize::from(!matches!(found, Found::Nothing));
            vec![PartVersion::NONE; count]
        }
    };
    let mut read = Vec::with_capacity(asked);
    for text in texts {
        let text = match value_of(text)? {
            Found::Value(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            Found::Nothing => {
                read.push(None);
                continue;
            }
            Found::Foreign => None,
        };
        foreign += usize::from(text.is_none());
        read.push(text);
    }
    Some(ReadParts { versions, texts: read, foreign })
}

enum Found<'r> {
    Value(&'r [u8]),
    Nothing,
    Foreign,
}

fn value_of(reply: &Value) -> Option<Found<'_>> {
    let Value::Array(reply) = reply else { return None };
    match &**reply {
        [Value::Int(0), Value::BulkString(bytes)] => Some(Found::Value(bytes)),
        [Value::Int(1)] => Some(Found::Nothing),
        [Value::Int(2)] => Some(Found::Foreign),
        _ => None,
    }
}

/// How long a text may be kept on the engine at most: longer than any record is known that has an end.
pub const PART_EXPIRY: Nanos = Nanos::from_secs(400 * 24 * 60 * 60);
const VERSION_BYTES: usize = 16;
/// For the answer: a text of some megabytes over a slow link.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TEXT: &str = include_str!("scripts/read_parts.lua");
const WRITE_TEXT: &str = include_str!("scripts/write_part.lua");
static READ: LazyLock<Script> = LazyLock::new(|| Script::new(READ_TEXT));
static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(WRITE_TEXT));

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Value {
        Value::Array(vec![Value::Int(0), Value::BulkString(text.to_vec())])
    }

    #[test]
    fn replies_are_read_and_what_is_not_ours_is_counted() {
        let (nothing, foreign) = (Value::Array(vec![Value::Int(1)]), Value::Array(vec![Value::Int(2)]));
        let versions = [PartVersion::NONE.0, PartVersion::new(7).0].concat();
        let reply = Value::Array(vec![found(&versions), found(b"a"), nothing.clone(), foreign.clone(), found(b"\xff")]);
        let read = read_reply(&reply, 2, 4).unwrap();
        assert_eq!(read.versions, [PartVersion::NONE, PartVersion::new(7)]);
        assert_eq!((read.texts, read.foreign), (vec![Some("a".to_owned()), None, None, None], 2));
        for (table, expected) in [(nothing.clone(), 0), (foreign, 1), (found(b"short"), 1)] {
            let read = read_reply(&Value::Array(vec![table]), 2, 0).unwrap();
            assert_eq!((read.versions, read.foreign), (vec![PartVersion::NONE; 2], expected));
        }
        for odd in
            [Value::Nil, Value::Array(Vec::new()), Value::Array(vec![nothing]), Value::Array(vec![Value::Nil; 2])]
        {
            assert_eq!(read_reply(&odd, 2, 1), None, "{odd:?}");
        }
    }
}
