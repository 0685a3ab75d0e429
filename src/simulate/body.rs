//! Reads a line with a `/json` body: a `RateLimitRequest` in protojson.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::rls::{self, json};
use crate::limiter::Check;

/// A check in the format of `/json`, with an optional time.
#[derive(Debug)]
pub(super) struct Body<'a> {
    /// The field `at` of the line. `/json` has no such field, so recorded bodies do not have it.
    pub(super) at: Option<&'a RawValue>,
    request: Bytes,
}

impl<'a> Body<'a> {
    /// Reads the line; `None` if it is not a body. A body has an entry that is an object, or a field that only bodies have.
    pub(super) fn read(line: &'a str) -> Option<Result<Self, String>> {
        let Fields(fields) = serde_json::from_str(line).ok()?;
        let is_body = fields.iter().any(|(name, raw)| match name.as_str() {
            "descriptors" => {
                serde_json::from_str(raw.get()).is_ok_and(|descriptors: Value| has_body_form(&descriptors))
            }
            name => BODY_FIELDS.contains(&name),
        });
        is_body.then(|| Self::parse(&fields))
    }

    fn parse(fields: &[(String, &'a RawValue)]) -> Result<Self, String> {
        let mut times = fields.iter().filter(|(name, _)| name == "at").map(|(_, at)| *at);
        let at = times.next();
        if times.next().is_some() {
            return Err("is not a check: duplicate field `at`".to_owned());
        }
        // The other fields are left to the reader of `/json`.
        let others = fields.iter().filter(|(name, _)| name != "at");
        let others: Vec<_> =
            others.map(|(name, raw)| format!("{}:{}", Value::from(name.as_str()), raw.get())).collect();
        let request = json::request_from_json(format!("{{{}}}", others.join(",")).as_bytes());
        Ok(Self { at, request: request.map_err(|error| format!("is not a check: {error}"))? })
    }

    pub(super) fn check(&self) -> Result<Check<'_>, String> {
        rls::read(&self.request).map_err(|error| error.to_string())
    }
}

fn has_body_form(descriptors: &Value) -> bool {
    let of_body = |descriptor: &Value| {
        let entries = descriptor.get("entries").and_then(Value::as_array);
        entries.is_some_and(|entries| entries.iter().any(Value::is_object))
            || BODY_FIELDS.iter().any(|field| descriptor.get(field).is_some())
    };
    descriptors.as_array().is_some_and(|descriptors| descriptors.iter().any(of_body))
}

/// The fields that the trace's own format calls `hits` and `negative`.
const BODY_FIELDS: [&str; 4] = ["hitsAddend", "hits_addend", "isNegativeHits", "is_negative_hits"];

/// The fields of an object in their order, including repeated ones.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}
