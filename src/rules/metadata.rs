//! `metadata`: a free map that goes out as a `google.protobuf.Struct`.

use serde_json::{Map, Number, Value as Json};

use super::report::Report;
use super::yaml::{Kind, Node, Pair, Scalar, Value};
use super::{field, quote};

/// The value of `metadata` as a JSON object; nothing where it is null, empty or wrong, which has been reported.
///
/// Keys need not be strings: the reference takes those of `metadata` itself by their text, and those further in as it
/// prints their values, so that `on: 1` is `on` here and `true` there.
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

/// The line and the words of what cannot go out.
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
