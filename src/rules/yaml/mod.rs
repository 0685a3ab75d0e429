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

pub(crate) use scalar::{Scalar, Value};

/// One node of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The line it begins in, from 1.
    pub(crate) line: usize,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
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
pub(crate) struct Pair {
    /// The key: a scalar.
    pub(crate) key: Node,
    /// The value.
    pub(crate) value: Node,
}

impl Node {
    /// Whether this is `null`, `~` or empty.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.value == Value::Null)
    }

    /// The text, if the node is a scalar that resolves to a string.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.value == Value::Text => Some(&scalar.text),
            _ => None,
        }
    }
}

/// Why a text is not usable YAML.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The cause.
    pub(crate) cause: String,
}

/// The first document of a file, and what is ignored of the file.
#[derive(Debug)]
pub(crate) struct Document {
    /// The first document; an empty file is a null node.
    pub(crate) root: Node,
    /// Keys that occur twice in a map, other than through `<<`.
    pub(crate) repeated: Vec<Repeated>,
    /// The line of text after the first document.
    pub(crate) more: Option<usize>,
}

/// A repeated key of a map.
#[derive(Debug)]
pub(crate) struct Repeated {
    /// The key.
    pub(crate) key: String,
    /// The line of the repeated key.
    pub(crate) line: usize,
    /// The line of the previous one.
    pub(crate) first: usize,
}

/// Reads a file.
///
/// # Errors
/// The first error of the text: what follows a syntax error cannot be interpreted.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Fault> {
    let decoded = encoding::decode(bytes)?;
    // The parser reports what is missing at the end in the line after the last.
    let last = decoded.text.lines().count().max(1);
    let in_file = |line: usize| decoded.line_in_file(line.min(last));
    tree::build(&decoded.text, &in_file).map_err(|fault| Fault { line: in_file(fault.line), ..fault })
}
