//! `dynamic_metadata`: what was asked, and the metadata of the rules that let it pass, as the reference reports it.

use std::collections::BTreeMap;
use std::fmt::Write;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::limiter::{Check, Code, Decision, Descriptor, Override, Status};
use crate::rules::Unit;

/// The metadata of one answer: `domain`, `descriptors`, `hitsAddend`, `delay_ms` of an advised delay, and `metadata`
/// merged from the rules whose limits let their descriptors pass (the first value of a key wins, maps are merged): one that
/// limits nothing, such as an unlimited one, has no part in the answer. Without `wanted` only the delay is reported, and
/// without a delay nothing.
pub fn build(check: &Check<'_>, decision: &Decision<'_>, wanted: bool) -> Option<Struct> {
    let mut fields = BTreeMap::new();
    if !decision.advice.is_zero() {
        fields.insert("delay_ms".to_owned(), number(decision.advice.as_millis_ceil()));
    }
    if wanted {
        fill(&mut fields, check, decision);
    }
    (!fields.is_empty()).then_some(Struct { fields })
}

fn fill(fields: &mut BTreeMap<String, Value>, check: &Check<'_>, decision: &Decision<'_>) {
    fields.insert("domain".to_owned(), string(check.domain.to_string()));
    fields.insert("descriptors".to_owned(), list(check.descriptors.iter().map(descriptor)));
    if check.hits_addend != 0 {
        fields.insert("hitsAddend".to_owned(), number(u64::from(check.hits_addend)));
    }
    if let Some(metadata) = merged(decision) {
        fields.insert("metadata".to_owned(), structure(metadata));
    }
}

fn descriptor(descriptor: &Descriptor<'_>) -> Value {
    let mut fields = BTreeMap::new();
    let entries = descriptor.entries.iter().map(|entry| string(format!("{}={}", entry.key, entry.value)));
    fields.insert("entries".to_owned(), list(entries));
    if let Some(limit) = descriptor.limit {
        fields.insert("limit".to_owned(), string(limit_text(limit)));
    }
    if let Some(hits) = descriptor.hits {
        fields.insert("hitsAddend".to_owned(), number(hits));
    }
    structure(Struct { fields })
}

/// An override in protobuf's text format, fields at their default left out.
fn limit_text(limit: Override) -> String {
    let mut parts = Vec::new();
    if limit.requests_per_unit != 0 {
        parts.push(format!("requests_per_unit:{}", limit.requests_per_unit));
    }
    let mut unit = String::new();
    if let Some(period) = limit.period {
        // The override's enum has no week: the reference, and the protocol, know it by its number alone.
        let name = period.unit.map_or("UNKNOWN", |unit| if unit == Unit::Week { "7" } else { unit.name() });
        let _ = write!(unit, "unit:{name}");
        parts.push(unit);
        if period.multiplier > 1 {
            parts.push(format!("unit_multiplier:{{value:{}}}", period.multiplier));
        }
    }
    parts.join(" ")
}

fn merged(decision: &Decision<'_>) -> Option<Struct> {
    let mut merged = None;
    let passed = |status: &&Status<'_>| status.code == Code::Ok && status.limit.is_some();
    for status in decision.statuses.iter().filter(passed) {
        if let Some(serde_json::Value::Object(metadata)) = status.rule.and_then(|rule| rule.metadata.as_ref()) {
            merge(merged.get_or_insert_with(Struct::default), metadata);
        }
    }
    merged
}

/// Adds what `into` does not have; maps that both have are merged. The depth is that of the configuration, bounded there.
fn merge(into: &mut Struct, from: &serde_json::Map<String, serde_json::Value>) {
    for (key, value) in from {
        match (into.fields.get_mut(key), value) {
            (None, value) => drop(into.fields.insert(key.clone(), from_json(value))),
            (Some(Value { kind: Some(Kind::StructValue(into)) }), serde_json::Value::Object(from)) => merge(into, from),
            (Some(_), _) => {}
        }
    }
}

fn from_json(value: &serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(value) => Kind::StringValue(value.clone()),
        serde_json::Value::Array(values) => return list(values.iter().map(from_json)),
        serde_json::Value::Object(values) => {
            let mut fields = Struct::default();
            merge(&mut fields, values);
            Kind::StructValue(fields)
        }
    };
    Value { kind: Some(kind) }
}

fn string(text: String) -> Value {
    Value { kind: Some(Kind::StringValue(text)) }
}

#[allow(clippy::cast_precision_loss)] // JSON numbers are doubles; the reference converts the same way.
fn number(n: u64) -> Value {
    Value { kind: Some(Kind::NumberValue(n as f64)) }
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values: values.collect() })) }
}

fn structure(fields: Struct) -> Value {
    Value { kind: Some(Kind::StructValue(fields)) }
}
