//! Reads protojson as Go's `protojson` does, and writes protobuf.
//!
//! Source: <https://protobuf.dev/programming-guides/json/>, and the behaviour of the Go library where that page is silent,
//! because clients of the reference service rely on it. A field may have its name or its JSON name, but only once; `null` is
//! the same as no value; whole numbers may have any notation, also in a string; enums are names or numbers; unknown fields
//! are errors. The fields of a message come from its descriptor; none is named in this code.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::number::{whole, whole_in_text};
use crate::api::protobuf::{put_bytes_field, put_varint_field};

/// Reads a JSON object into a message, which is appended to `out`.
pub(super) struct Message<'o> {
    pub(super) kind: MessageDescriptor,
    pub(super) out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object, a {}", self.kind.name())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut json: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(name) = json.next_key::<String>()? {
            let field = self.kind.get_field_by_json_name(&name).or_else(|| self.kind.get_field_by_name(&name));
            let Some(field) = field else { return Err(A::Error::custom(format_args!("unknown field {name:?}"))) };
            if seen.contains(&field.number()) {
                return Err(A::Error::custom(format_args!("duplicate field {name:?}")));
            }
            seen.push(field.number());
            json.next_value_seed(Field { field: &field, out: self.out })?;
        }
        Ok(())
    }
}

/// Reads the value of a field; `null` is no value.
struct Field<'f, 'o> {
    field: &'f FieldDescriptor,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Field<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Field<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {}", self.field.json_name())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.field.is_list() {
            return json.deserialize_seq(self);
        }
        Element { field: self.field, out: self.out }.deserialize(json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut json: A) -> Result<(), A::Error> {
        while json.next_element_seed(Element { field: self.field, out: self.out })?.is_some() {}
        Ok(())
    }
}

/// Reads one value, of a field or an element of a list.
struct Element<'f, 'o> {
    field: &'f FieldDescriptor,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Self { field, out } = self;
        let Kind::Message(kind) = field.kind() else {
            let value = <&RawValue>::deserialize(json)?;
            return scalar(field, field, value.get(), out).map_err(D::Error::custom);
        };
        let mut message = Vec::new();
        match wrapped(&kind) {
            Some(inner) => {
                let value = <&RawValue>::deserialize(json)?;
                scalar(&inner, field, value.get(), &mut message).map_err(D::Error::custom)?;
            }
            None => Message { kind, out: &mut message }.deserialize(json)?,
        }
        put_bytes_field(out, field.number(), &message);
        Ok(())
    }
}

/// The field of a message such as `google.protobuf.UInt64Value`, which is written in JSON as the bare value.
fn wrapped(kind: &MessageDescriptor) -> Option<FieldDescriptor> {
    let is_wrapper = kind.package_name() == "google.protobuf" && kind.name().ends_with("Value");
    is_wrapper.then(|| kind.get_field(1)).flatten()
}

/// Appends a value that is neither a message nor a list to `out`; errors use the name of `named`.
fn scalar(field: &FieldDescriptor, named: &FieldDescriptor, json: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let number = field.number();
    let wrong = |expected: &str| format!("{}: {} is not {expected}", named.json_name(), start(json));
    match field.kind() {
        Kind::String => put_bytes_field(out, number, text(json).ok_or_else(|| wrong("a string"))?.as_bytes()),
        Kind::Uint32 => {
            let value = integer(json).and_then(|value| u32::try_from(value).ok());
            put_varint_field(out, number, value.ok_or_else(|| wrong("a whole number from 0 to 4294967295"))?.into());
        }
        Kind::Uint64 => {
            let value = integer(json).and_then(|value| u64::try_from(value).ok());
            let expected = "a whole number from 0 to 18446744073709551615";
            put_varint_field(out, number, value.ok_or_else(|| wrong(expected))?);
        }
        Kind::Bool => {
            let value = serde_json::from_str::<bool>(json).map_err(|_| wrong("true or false"))?;
            put_varint_field(out, number, value.into());
        }
        Kind::Enum(kind) => {
            let by_name = || text(json).and_then(|name| Some(kind.get_value_by_name(&name)?.number()));
            let by_number = || whole(json).and_then(|value| i32::try_from(value).ok());
            let value = if json.starts_with('"') { by_name() } else { by_number() };
            let value = value.ok_or_else(|| wrong(&format!("a {}", kind.name())))?;
            put_varint_field(out, number, i64::from(value).cast_unsigned());
        }
        _ => return Err(wrong("of a kind that can be read")),
    }
    Ok(())
}

fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// A number, or a number in a string.
fn integer(json: &str) -> Option<i128> {
    if json.starts_with('"') { whole_in_text(&text(json)?) } else { whole(json) }
}

/// The beginning of a value, enough to recognize it.
fn start(json: &str) -> String {
    let mut shown: String = json.chars().take(MAX_SHOWN).collect();
    if shown.len() < json.len() {
        shown.push('…');
    }
    shown
}

/// The number of characters of a value that an error quotes.
const MAX_SHOWN: usize = 40;
