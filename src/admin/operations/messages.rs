//! Conversions that several methods of the admin service need.

use prost_types::Duration;
use tonic::Status;

use crate::api::proto::tidegate::v1 as proto;
use crate::api::usage::{self, entries, length, time};
use crate::limiter::CounterView;
use crate::units::Nanos;

/// What an operator should know, in lines; those without a text are left out.
pub(super) fn joined(lines: [String; 2]) -> String {
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Reads entries; a key must not be empty.
///
/// # Errors
/// An entry without a key, or too many.
pub(super) fn read_entries(entries: Vec<proto::Entry>) -> Result<Vec<(String, String)>, Status> {
    read_at_most(MAX_ENTRIES, entries)
}

/// Reads the entries of a descriptor, as many as one of a check may have.
///
/// # Errors
/// As those of [`read_entries`].
pub(super) fn read_descriptor(entries: Vec<proto::Entry>) -> Result<Vec<(String, String)>, Status> {
    read_at_most(MAX_DESCRIPTOR_ENTRIES, entries)
}

fn read_at_most(most: usize, entries: Vec<proto::Entry>) -> Result<Vec<(String, String)>, Status> {
    if entries.len() > most {
        return Err(Status::invalid_argument(format!("at most {most} entries are possible")));
    }
    if entries.iter().any(|entry| entry.key.is_empty()) {
        return Err(Status::invalid_argument("an entry has no key"));
    }
    Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}

/// Reads a length of time.
///
/// # Errors
/// It is negative, or too long to be represented.
pub(super) fn read_length(length: Duration, what: &str) -> Result<Nanos, Status> {
    let wrong = || Status::invalid_argument(format!("{what}: must be a length of time, not negative"));
    usage::read_length(length).ok_or_else(wrong)
}

pub(super) fn counter(view: CounterView) -> proto::Counter {
    proto::Counter {
        domain: view.domain,
        rule: view.rule,
        entries: entries(&view.entries),
        limit_place: u32::try_from(view.place).unwrap_or(u32::MAX),
        used: view.used,
        limit: view.limit.unwrap_or(0),
        period: Some(length(view.period)),
        remaining: view.remaining,
        reset: Some(length(view.reset)),
        banned_until: view.banned_until.map(time),
        denied: view.denied,
        set: view.is_set,
        queued: view.queued,
        calendar: view.calendar,
    }
}

/// Entries of a filter: as many as those of the usage service.
const MAX_ENTRIES: usize = 16;
/// Entries of a descriptor: as many as those of a check.
const MAX_DESCRIPTOR_ENTRIES: usize = 100;
