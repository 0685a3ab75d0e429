//! The second pass: values as the types they must have, in the reference's words where they have not.

use super::report::Report;
use super::yaml::{Kind, Node, Scalar, Value};
use super::{hint, quote};

/// The value of a key, as far as there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The value is wrong, and has been reported: nothing more is to be said about it.
    Invalid,
    /// This value, in that line.
    Given(T, usize),
}

impl<T> Field<T> {
    /// The value, if a good one is there.
    pub(super) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value, _) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The line of the value, if a good one is there.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Self::Given(_, line) => Some(*line),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the value is wrong, and has been reported.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid)
    }

    /// The value at `line`, or nothing where its fault has been reported.
    pub(super) fn from(value: Option<T>, line: usize) -> Self {
        value.map_or(Self::Invalid, |value| Self::Given(value, line))
    }
}

impl Field<bool> {
    /// Whether the flag is set.
    pub(super) fn is_set(&self) -> bool {
        self.given().is_some_and(|&set| set)
    }
}

/// Reports a value of the wrong type; `wanted` is the type's name in the reference.
pub(super) fn mismatch(node: &Node, wanted: &str, report: &mut Report<'_>) {
    if matches!(node.kind, Kind::Invalid) {
        return;
    }
    let (line, found) = (node.line, quote::tagged(node));
    let cause = format!("yaml: unmarshal errors:\n  line {line}: cannot unmarshal {found} into {wanted}");
    let what_to_do = hint::of_type(wanted, matches!(node.kind, Kind::List(_)));
    report.error(line, format!("error loading config file: {cause} ({what_to_do})"));
}

/// A string: the text of any scalar, as written in the file; null is the empty string.
pub(super) fn text(node: &Node, report: &mut Report<'_>) -> Field<String> {
    match &node.kind {
        Kind::Scalar(Scalar { value: Value::Null, .. }) => Field::Given(String::new(), node.line),
        Kind::Scalar(Scalar { text, .. }) => Field::Given(text.clone(), node.line),
        _ => reject(node, "string", report),
    }
}

/// A truth value; null is false.
pub(super) fn flag(node: &Node, report: &mut Report<'_>) -> Field<bool> {
    match &node.kind {
        Kind::Scalar(Scalar { value: Value::Null, .. }) => Field::Given(false, node.line),
        Kind::Scalar(Scalar { value: Value::Bool(set), .. }) => Field::Given(*set, node.line),
        _ => reject(node, "bool", report),
    }
}

/// Hits per unit; null is 0, and a negative number, which the reference rejects, is no limit.
pub(super) fn requests(node: &Node, report: &mut Report<'_>) -> Field<Requests> {
    let Kind::Scalar(scalar) = &node.kind else { return reject(node, "uint32", report) };
    let requests = match scalar.value {
        Value::Null => Some(Requests::AtMost(0)),
        Value::Int(int) if int < 0 => Some(Requests::Unlimited),
        Value::Int(int) => u32::try_from(int).ok().map(Requests::AtMost),
        _ => None,
    };
    match requests {
        Some(requests) => Field::Given(requests, node.line),
        None => reject(node, "uint32", report),
    }
}

/// What `requests_per_unit` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requests {
    /// So many.
    AtMost(u32),
    /// No limit.
    Unlimited,
}

/// The elements of a list of maps; null is the empty list.
pub(super) fn list<'n>(node: &'n Node, wanted: &str, report: &mut Report<'_>) -> Option<&'n [Node]> {
    match &node.kind {
        Kind::List(items) => Some(items),
        _ if node.is_null() => Some(&[]),
        _ => {
            mismatch(node, wanted, report);
            None
        }
    }
}

fn reject<T>(node: &Node, wanted: &str, report: &mut Report<'_>) -> Field<T> {
    mismatch(node, wanted, report);
    Field::Invalid
}
