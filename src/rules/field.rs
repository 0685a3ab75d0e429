//! The second pass: values of the required types, or errors in the words of the reference.

use super::report::Report;
use super::yaml::{Kind, Node, Scalar, Value};
use super::{hint, quote};

/// The value of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// The key is absent.
    #[default]
    Absent,
    /// The value is invalid, which has been reported: no further error is needed.
    Invalid,
    /// A valid value, and its line.
    Given(T, usize),
}

impl<T> Field<T> {
    /// The value, if there is a valid one.
    pub(super) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value, _) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The line of the value, if there is a valid one.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Self::Given(_, line) => Some(*line),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the value is invalid, which has been reported.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid)
    }

    /// The value at `line`; `None` is an invalid one that has been reported.
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
    let what_to_do = hint::for_type(wanted, matches!(node.kind, Kind::List(_)));
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

/// A boolean; null is false.
pub(super) fn flag(node: &Node, report: &mut Report<'_>) -> Field<bool> {
    match &node.kind {
        Kind::Scalar(Scalar { value: Value::Null, .. }) => Field::Given(false, node.line),
        Kind::Scalar(Scalar { value: Value::Bool(set), .. }) => Field::Given(*set, node.line),
        _ => reject(node, "bool", report),
    }
}

/// Hits per unit; null is 0. A negative number, which the reference rejects, means unlimited.
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

/// The value of `requests_per_unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requests {
    /// At most that many.
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
