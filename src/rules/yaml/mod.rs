//! YAML text -> a tree of nodes with lines, read the way the reference's YAML library reads it.
//!
//! Anchors, aliases and `<<` are resolved here; pairs stay in the order of the file with later duplicates behind the
//! earlier ones they override, so that a reader who assigns in order gets the reference's result. Only the first
//! document of a file counts.
//!
//! The parser reads YAML 1.2, the reference's 1.1. Known to be refused here and accepted there: a tab after `key:`, and
//! lines inside `[]` or `{}` that are not indented further than what holds them.

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
    /// Something that has been reported as wrong: whoever meets it says nothing more about it.
    Refused,
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

/// Reads the first document of a file; an empty file is a null node.
///
/// # Errors
/// The first fault of the text: what follows a syntax error means nothing.
pub(super) fn read(bytes: &[u8]) -> Result<Node, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        Fault { line: line_after(before), cause: "invalid UTF-8".to_owned() }
    })?;
    if let Some((at, _)) = text.char_indices().find(|&(at, c)| !(is_printable(c) || at == 0 && c == BYTE_ORDER_MARK)) {
        let before = bytes.get(..at).unwrap_or_default();
        return Err(Fault { line: line_after(before), cause: "control characters are not allowed".to_owned() });
    }
    // The parser puts what is missing at the end behind the last line.
    let last = text.lines().count().max(1);
    tree::build(text).map_err(|fault| Fault { line: fault.line.min(last), ..fault })
}

const BYTE_ORDER_MARK: char = '\u{feff}';

fn line_after(bytes: &[u8]) -> usize {
    bytes.split(|&byte| byte == b'\n').count()
}

/// The characters of a YAML stream (YAML 1.1, section 5.1).
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != BYTE_ORDER_MARK
}
