//! What the files of access control have in common: one list under one key, in YAML.

use crate::rules::yaml::{self, Kind, Node, Pair};
use crate::sanitize::sanitize;

use super::Domains;

/// What is wrong with a file, and where. No message has a part of a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct ContentError {
    line: usize,
    what: String,
}

pub(super) fn error(line: usize, what: impl Into<String>) -> ContentError {
    ContentError { line, what: what.into() }
}

/// Reads the items of a file `key: [...]`, each with its line.
///
/// # Errors
/// The first thing that is wrong; `hint` says where such files come from.
pub(super) fn read_list<T>(
    text: &[u8],
    key: &str,
    most: usize,
    hint: &str,
    read: impl Fn(&Node) -> Result<T, ContentError>,
) -> Result<Vec<(usize, T)>, ContentError> {
    let document = yaml::read(text).map_err(|fault| error(fault.line, fault.cause))?;
    if let Some(line) = document.more {
        return Err(error(line, "text after the end of the document"));
    }
    if let Some(repeated) = document.repeated.first() {
        return Err(error(repeated.line, format!("'{}' is given twice", sanitize(&repeated.key))));
    }
    let Kind::Map(pairs) = &document.root.kind else {
        return Err(error(1, format!("expected `{key}:` and a list; {hint}")));
    };
    if let Some(other) = pairs.iter().find(|pair| pair.key.as_text() != Some(key)) {
        return Err(error(other.key.line, format!("the only key at the top level is '{key}'")));
    }
    let Some(Pair { value, .. }) = pairs.first() else { return Err(error(1, format!("there is no '{key}:'"))) };
    let Kind::List(items) = &value.kind else {
        return Err(error(value.line, format!("'{key}' must be a list")));
    };
    if items.len() > most {
        return Err(error(value.line, format!("{} {key}, at most {most} are possible", items.len())));
    }
    items.iter().map(|item| Ok((item.line, read(item)?))).collect()
}

/// Reads a list of names of domains, which has at least one: an empty one would be for nothing, or, read carelessly, for everything.
/// `all` says how all domains are written.
pub(super) fn read_domains(node: &Node, all: &str) -> Result<Vec<String>, ContentError> {
    let wrong = || error(node.line, format!("'domains' must be a list of names; {all}"));
    let Kind::List(items) = &node.kind else { return Err(wrong()) };
    if items.is_empty() || items.len() > MAX_DOMAINS {
        return Err(error(node.line, format!("'domains' must have 1 to {MAX_DOMAINS} names; {all}")));
    }
    let mut domains = Vec::with_capacity(items.len());
    for item in items {
        let domain = item.as_text().ok_or_else(wrong)?;
        check_domain(domain).map_err(|what| error(item.line, what))?;
        domains.push(domain.to_owned());
    }
    Ok(domains)
}

/// Checks that a domain can have this name.
///
/// # Errors
/// It cannot, in words.
pub(super) fn check_domain(domain: &str) -> Result<(), String> {
    if domain.is_empty() || domain.len() > MAX_DOMAIN_BYTES || domain.chars().any(char::is_control) {
        return Err(format!("a domain is a text of 1 to {MAX_DOMAIN_BYTES} bytes without control characters"));
    }
    Ok(())
}

impl Domains {
    /// These, in any order.
    pub(super) fn only(mut domains: Vec<String>) -> Self {
        domains.sort_unstable();
        domains.dedup();
        Self::Only(domains)
    }
}

/// Domains of one token or client.
const MAX_DOMAINS: usize = 1_000;
/// Longer than any domain in use.
const MAX_DOMAIN_BYTES: usize = 1_024;
