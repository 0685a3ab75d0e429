//! Reads a `RateLimitRequest` in place.

use std::borrow::Cow;

use crate::api::protobuf::{Fields, Malformed, Value};
use crate::limiter::{Check, Descriptor, Override};
use crate::rules::{Entry, Period, Unit};

/// Why a request was not decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No configuration is loaded yet.
    #[error("no rate limit configuration loaded")]
    NoConfiguration,
    /// The request names no domain.
    #[error("rate limit domain must not be empty")]
    EmptyDomain,
    /// The request has no descriptors.
    #[error("rate limit descriptor list must not be empty")]
    NoDescriptors,
    /// The client's certificate is not for this domain. It must not learn more.
    #[error("this client may not check this domain")]
    Forbidden,
    /// The request is not a valid protobuf message of its type.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The request exceeds a bound.
    #[error("{what}: at most {max} are allowed")]
    TooMany {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        max: usize,
    },
}

impl RequestError {
    /// The gRPC status of the error.
    pub fn status(&self) -> tonic::Status {
        match self {
            Self::NoConfiguration => tonic::Status::unavailable(self.to_string()),
            Self::Forbidden => tonic::Status::permission_denied(self.to_string()),
            _ => tonic::Status::invalid_argument(self.to_string()),
        }
    }
}

impl From<Malformed> for RequestError {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// Reads one encoded `RateLimitRequest`. Keys and values are borrowed; those that are not UTF-8 are decoded lossily.
///
/// # Errors
/// What is missing, malformed, or beyond a bound.
pub fn read(request: &[u8]) -> Result<Check<'_>, RequestError> {
    let mut check = Check::default();
    read_into(&mut check, request)?;
    Ok(check)
}

/// As [`read`], into a check without descriptors: a check is too large to move.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_into<'r>(check: &mut Check<'r>, request: &'r [u8]) -> Result<(), RequestError> {
    let mut fields = Fields::new(request);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(domain)) => check.domain = text(domain),
            (2, Value::Bytes(bytes)) => {
                bounded(check.descriptors.len(), MAX_DESCRIPTORS, "descriptors in one check")?;
                check.descriptors.push(Descriptor::default());
                check.descriptors.last_mut().map_or(Ok(()), |descriptor| read_descriptor(descriptor, bytes))?;
            }
            (3, Value::Varint(hits)) => check.hits_addend = low_32(hits),
            (1..=3, _) => return Err(WRONG_TYPE.into()),
            _ => {}
        }
    }
    if check.domain.is_empty() {
        return Err(RequestError::EmptyDomain);
    }
    if check.descriptors.is_empty() {
        return Err(RequestError::NoDescriptors);
    }
    Ok(())
}

fn read_descriptor<'r>(descriptor: &mut Descriptor<'r>, bytes: &'r [u8]) -> Result<(), RequestError> {
    let mut limit: Option<RawOverride> = None;
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => {
                bounded(descriptor.entries.len(), MAX_ENTRIES, "entries in one descriptor")?;
                descriptor.entries.push(entry(bytes)?);
            }
            (2, Value::Bytes(bytes)) => limit.get_or_insert_default().merge(bytes)?,
            (3, Value::Bytes(bytes)) => descriptor.hits = Some(wrapped(bytes, descriptor.hits.unwrap_or(0))?),
            (4, Value::Varint(refund)) => descriptor.refund = refund != 0,
            (1..=4, _) => return Err(WRONG_TYPE.into()),
            _ => {}
        }
    }
    descriptor.limit = limit.map(RawOverride::read);
    Ok(())
}

fn entry(bytes: &[u8]) -> Result<Entry<'_>, RequestError> {
    let mut entry = Entry { key: Cow::Borrowed(""), value: Cow::Borrowed("") };
    let mut fields = Fields::new(bytes);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Bytes(key)) => entry.key = text(key),
            (2, Value::Bytes(value)) => entry.value = text(value),
            (1 | 2, _) => return Err(WRONG_TYPE.into()),
            _ => {}
        }
    }
    Ok(entry)
}

/// The bytes as text, decoded lossily if they are not UTF-8.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    // Validating is fast; the lossy decoder works piece by piece.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A request override that is being read.
#[derive(Clone, Copy, Default)]
struct RawOverride {
    requests_per_unit: u32,
    unit: u64,
    multiplier: Option<u64>,
}

impl RawOverride {
    fn merge(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Varint(requests)) => self.requests_per_unit = low_32(requests),
                (2, Value::Varint(unit)) => self.unit = unit,
                (3, Value::Bytes(bytes)) => self.multiplier = Some(wrapped(bytes, self.multiplier.unwrap_or(0))?),
                (1..=3, _) => return Err(WRONG_TYPE.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn read(self) -> Override {
        // A multiplier of 0 counts as 1, as in Envoy.
        let multiplier = low_32(self.multiplier.unwrap_or(1)).max(1);
        let period = unit(self.unit).map(|unit| Period::from_units(unit, multiplier));
        Override { requests_per_unit: self.requests_per_unit, period }
    }
}

/// The value of a wrapper message (`UInt32Value`, `UInt64Value`) that is merged with `value`.
fn wrapped(bytes: &[u8], mut value: u64) -> Result<u64, RequestError> {
    let mut fields = Fields::new(bytes);
    while let Some((field, content)) = fields.next()? {
        match (field, content) {
            (1, Value::Varint(content)) => value = content,
            (1, _) => return Err(WRONG_TYPE.into()),
            _ => {}
        }
    }
    Ok(value)
}

/// `envoy.type.v3.RateLimitUnit`, and 7 for a week, because the reference casts the number from one enum to the other.
fn unit(number: u64) -> Option<Unit> {
    Some(match number {
        1 => Unit::Second,
        2 => Unit::Minute,
        3 => Unit::Hour,
        4 => Unit::Day,
        5 => Unit::Month,
        6 => Unit::Year,
        7 => Unit::Week,
        _ => return None,
    })
}

/// A `uint32` field: the lower bits of the varint, as specified.
fn low_32(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn bounded(count: usize, max: usize, what: &'static str) -> Result<(), RequestError> {
    if count < max { Ok(()) } else { Err(RequestError::TooMany { what, max }) }
}

/// Descriptors of one check. Envoy sends one for each configured list of actions, so a few; each costs a look-up.
const MAX_DESCRIPTORS: usize = 1_000;
/// Entries of one descriptor: the depth of a configuration.
const MAX_ENTRIES: usize = 100;
const WRONG_TYPE: &str = "a field has the wrong type";
