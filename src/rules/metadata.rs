//! `metadata`: a free map that goes out as a `google.protobuf.Struct`.

use serde_json::{Map, Number, Value as Json};

use super::field;
use super::quote;
use super::report::Report;
use super::yaml::{Kind, Node, Pair, Scalar, Value};

/// The value of `metadata` as a JSON object; nothing where it is null or wrong, which has been reported.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Option<Json> {
    if node.is_null() {
        return None;
    }
    let Kind::Map(pairs) = &node.kind else {
        field::mismatch(node, "map[string]interface {}", report);
        return None;
    };
    match object(pairs) {
        Ok(object) => Some(object),
        Err((line, fault)) => {
            report.error(line, format!("error parsing metadata: {fault}"));
            None
        }
    }
}

/// The line and the words of what no `Struct` can hold.
type Fault = (usize, String);

fn object(pairs: &[Pair]) -> Result<Json, Fault> {
    let mut object = Map::new();
    for Pair { key, value } in pairs {
        let Some(name) = key.as_text() else {
            return Err((key.line, format!("map key is not of type string: {}", quote::value(key))));
        };
        object.insert(name.to_owned(), convert(value)?);
    }
    Ok(Json::Object(object))
}

fn convert(node: &Node) -> Result<Json, Fault> {
    match &node.kind {
        Kind::Scalar(scalar) => leaf(scalar).map_err(|fault| (node.line, fault)),
        Kind::List(items) => items.iter().map(convert).collect::<Result<_, _>>().map(Json::Array),
        Kind::Map(pairs) => object(pairs),
        Kind::Refused => Ok(Json::Null),
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
