//! YAML text -> a tree of nodes with lines, with the meaning that the reference's YAML library gives it.
//!
//! Anchors, aliases and `<<` are resolved here. Pairs keep the order of the file, with duplicates after the pairs that they
//! override, so that assigning in order gives the result of the reference. Only the first document of a file is read;
//! [`Document`] records what is ignored.
//!
//! The parser reads YAML 1.2, the reference's libyaml reads 1.1: [`encoding`], [`input`] and [`repair`] handle the differences.

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
    /// A value that has been reported as invalid: no further error is needed.
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
    /// Whether this is `null`, `~` or empty.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.value == Value::Null)
    }

    /// The text, if the node is a scalar that resolves to a string.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.value == Value::Text => Some(&scalar.text),
            _ => None,
        }
    }
}

/// Why a text is not usable YAML.
#[derive(Debug)]
pub(super) struct Fault {
    /// The line, from 1.
    pub(super) line: usize,
    /// The cause.
    pub(super) cause: String,
}

/// The first document of a file, and what is ignored of the file.
#[derive(Debug)]
pub(super) struct Document {
    /// The first document; an empty file is a null node.
    pub(super) root: Node,
    /// Keys that occur twice in a map, other than through `<<`.
    pub(super) repeated: Vec<Repeated>,
    /// The line of text after the first document.
    pub(super) more: Option<usize>,
}

/// A repeated key of a map.
#[derive(Debug)]
pub(super) struct Repeated {
    /// The key.
    pub(super) key: String,
    /// The line of the repeated key.
    pub(super) line: usize,
    /// The line of the previous one.
    pub(super) first: usize,
}

/// Reads a file.
///
/// # Errors
/// The first error of the text: what follows a syntax error cannot be interpreted.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let decoded = encoding::decode(bytes)?;
    // The parser reports what is missing at the end in the line after the last.
    let last = decoded.text.lines().count().max(1);
    let in_file = |line: usize| decoded.line_in_file(line.min(last));
    tree::build(&decoded.text, &in_file).map_err(|fault| Fault { line: in_file(fault.line), ..fault })
}
