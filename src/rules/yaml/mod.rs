//! YAML text -> a tree of nodes with lines, read the way the reference's YAML library reads it.
//!
//! Anchors, aliases and `<<` are resolved here; pairs stay in the order of the file with later duplicates behind the
//! earlier ones they override, so that a reader who assigns in order gets the reference's result. Only the first
//! document of a file counts; what is silently lost that way is in [`Document`].
//!
//! The parser reads YAML 1.2, the reference's libyaml 1.1: [`encoding`], [`input`] and [`repair`] make up for that.

mod encoding;
mod input;
mod repair;
mod scalar;
mod tree;

pub(super) use scalar::{Scalar, Value};

/// One node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The line it begins in, from 1.
    pub(super) line: usize,
    /// What it holds.
    pub(super) kind: Kind,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A leaf.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Vec<Pair>),
    /// Something that has been reported as wrong: no further error is reported for it.
    Invalid,
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The key: a scalar.
    pub(super) key: Node,
    /// The value.
    pub(super) value: Node,
}

impl Node {
    /// Whether this is `null`, `~` or nothing at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.value == Value::Null)
    }

    /// The text, where the node is a scalar that resolves to a string.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.value == Value::Text => Some(&scalar.text),
            _ => None,
        }
    }
}

/// Why a text is no YAML that can be used.
#[derive(Debug)]
pub(super) struct Fault {
    /// The line, from 1.
    pub(super) line: usize,
    /// The cause.
    pub(super) cause: String,
}

/// A file as far as it counts, and what of it does not.
#[derive(Debug)]
pub(super) struct Document {
    /// The first document; an empty file is a null node.
    pub(super) root: Node,
    /// Keys that a map holds twice, other than by `<<`.
    pub(super) repeated: Vec<Repeated>,
    /// The line in which text follows the first document.
    pub(super) more: Option<usize>,
}

/// A key that its map has already.
#[derive(Debug)]
pub(super) struct Repeated {
    /// The key.
    pub(super) key: String,
    /// The line of this one.
    pub(super) line: usize,
    /// The line of the one before.
    pub(super) first: usize,
}

/// Reads a file.
///
/// # Errors
/// The first fault of the text: what follows a syntax error means nothing.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let decoded = encoding::decode(bytes)?;
    // The parser puts what is missing at the end behind the last line.
    let last = decoded.text.lines().count().max(1);
    let in_file = |line: usize| decoded.line_in_file(line.min(last));
    tree::build(&decoded.text, &in_file).map_err(|fault| Fault { line: in_file(fault.line), ..fault })
}
