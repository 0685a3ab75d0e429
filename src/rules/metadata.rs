//! `metadata`: a free-form map that is sent as a `google.protobuf.Struct`.

use serde_json::{Map, Number, Value as Json};

use super::report::Report;
use super::yaml::{Kind, Node, Pair, Scalar, Value};
use super::{field, quote};

/// The value of `metadata` as a JSON object; `None` if it is null or empty, or invalid, which has been reported.
///
/// Keys need not be strings. The reference takes the text of the keys of `metadata` itself, and the printed value of keys
/// of nested maps: `on: 1` is `on` in `metadata`, and `true` inside.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Option<Json> {
    if node.is_null() {
        return None;
    }
    let Kind::Map(pairs) = &node.kind else {
        field::mismatch(node, "map[string]interface {}", report);
        return None;
    };
    match object(pairs, by_text) {
        Ok(object) => Some(object).filter(|object| object.as_object().is_some_and(|object| !object.is_empty())),
        Err((line, fault)) => {
            report.error(line, format!("error parsing metadata: {fault}"));
            None
        }
    }
}

/// The line and the description of what cannot be sent.
type Fault = (usize, String);

fn object(pairs: &[Pair], name: fn(&Node) -> String) -> Result<Json, Fault> {
    let mut object = Map::new();
    for Pair { key, value } in pairs {
        object.insert(name(key), convert(value)?);
    }
    Ok(Json::Object(object))
}

fn by_text(key: &Node) -> String {
    match &key.kind {
        Kind::Scalar(Scalar { value: Value::Null, .. }) => String::new(),
        Kind::Scalar(scalar) => scalar.text.clone(),
        _ => quote::value(key),
    }
}

fn by_value(key: &Node) -> String {
    key.as_text().map_or_else(|| quote::value(key), str::to_owned)
}

fn convert(node: &Node) -> Result<Json, Fault> {
    match &node.kind {
        Kind::Scalar(scalar) => leaf(scalar).map_err(|fault| (node.line, fault)),
        Kind::List(items) => items.iter().map(convert).collect::<Result<_, _>>().map(Json::Array),
        Kind::Map(pairs) => object(pairs, by_value),
        Kind::Invalid => Ok(Json::Null),
    }
}

fn leaf(scalar: &Scalar) -> Result<Json, String> {
    Ok(match scalar.value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::Bool(bool),
        Value::Int(int) => Json::Number(int.into()),
        Value::Uint(uint) => Json::Number(uint.into()),
        Value::Float(float) => {
            let number = Number::from_f64(float).ok_or_else(|| format!("{} is not a finite number", scalar.text))?;
            Json::Number(number)
        }
        Value::Text => Json::String(scalar.text.clone()),
    })
}
