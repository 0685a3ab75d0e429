//! The meaning of a scalar: the rules of YAML 1.1 as applied by the reference's YAML library.

use std::borrow::Cow;

/// A leaf: its text and the meaning of the text.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// The text in the file, without quotes and escapes.
    pub(crate) text: String,
    /// Its meaning.
    pub(crate) value: Value,
    /// Its tag in short form, such as `!!int`, for error messages.
    pub(crate) tag: Cow<'static, str>,
}

/// The meaning of a scalar's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// Null.
    Null,
    /// A boolean; `yes`, `on` and `y` are booleans too.
    Bool(bool),
    /// An integer that fits an `i64`.
    Int(i64),
    /// An integer that fits only a `u64`.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// The text itself.
    Text,
}

/// The tag of a scalar in the file.
#[derive(Clone, Debug)]
pub(super) enum Tag {
    /// None, in plain style.
    Plain,
    /// None, but quoted or with `!`: the text is a string.
    Quoted,
    /// An explicit tag, in short form.
    Explicit(String),
}

impl Scalar {
    /// Resolves a scalar.
    ///
    /// # Errors
    /// The text does not fit its explicit tag.
    pub(super) fn resolve(text: String, tag: Tag) -> Result<Self, String> {
        let (value, tag) = match tag {
            Tag::Quoted => (Value::Text, Cow::Borrowed("!!str")),
            Tag::Plain if text == "<<" => (Value::Text, Cow::Borrowed(MERGE_TAG)),
            Tag::Plain => {
                let value = meaning(&text);
                (value, Cow::Borrowed(value.tag()))
            }
            Tag::Explicit(tag) => (cast(&text, &tag)?, Cow::Owned(tag)),
        };
        Ok(Self { text, value, tag })
    }

    /// An empty scalar.
    pub(super) fn null() -> Self {
        Self { text: String::new(), value: Value::Null, tag: Cow::Borrowed(Value::Null.tag()) }
    }

    /// Whether this, as a key, is `<<`: the pairs of its value are merged into the map around it.
    pub(super) fn is_merge(&self) -> bool {
        self.tag == MERGE_TAG
    }
}

const MERGE_TAG: &str = "!!merge";

impl Value {
    fn tag(self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Text => "!!str",
        }
    }
}

/// The meaning of a text with an explicit tag. Tags that YAML does not define leave the text as it is.
fn cast(text: &str, tag: &str) -> Result<Value, String> {
    let value = meaning(text);
    match (tag, value) {
        ("!!float", Value::Int(int)) => {
            #[allow(clippy::cast_precision_loss)] // what a float tag on an integer asks for
            let float = int as f64;
            Ok(Value::Float(float))
        }
        ("!!int" | "!!float" | "!!bool" | "!!null", _) if value.tag() == tag => Ok(value),
        ("!!int" | "!!float" | "!!bool" | "!!null", _) => {
            Err(format!("cannot decode {} `{text}` as a {tag}", value.tag()))
        }
        ("!!binary", _) => Err("!!binary is not supported: write the text itself".to_owned()),
        _ => Ok(Value::Text),
    }
}

/// The meaning of a plain text. Dates stay texts.
fn meaning(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        _ => match text.as_bytes().first() {
            Some(b'.') => float(text).unwrap_or(Value::Text),
            Some(b'+' | b'-' | b'0'..=b'9') => {
                let plain = text.replace('_', "");
                integer(&plain).or_else(|| float(&plain)).unwrap_or(Value::Text)
            }
            _ => Value::Text,
        },
    }
}

/// An integer in base 10, 2 (`0b`), 8 (`0o` or `0`) or 16 (`0x`).
fn integer(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (Some(-1), text.get(1..)?),
        b'+' => (Some(1), text.get(1..)?),
        _ => (None, text),
    };
    let magnitude = magnitude(digits)?;
    if sign == Some(-1) {
        return 0_i64.checked_sub_unsigned(magnitude).map(Value::Int);
    }
    match i64::try_from(magnitude) {
        Ok(int) => Some(Value::Int(int)),
        Err(_) => sign.is_none().then_some(Value::Uint(magnitude)),
    }
}

fn magnitude(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'b', _, ..] => (2, lower.get(2..)?),
        [b'0', b'o', _, ..] => (8, lower.get(2..)?),
        [b'0', b'x', _, ..] => (16, lower.get(2..)?),
        [b'0', _, ..] => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    // `from_str_radix` would accept a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A decimal number; `None` if it is too large for a float.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    if !well_formed {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_mean_what_they_mean_to_the_reference() {
        let int = Value::Int;
        let float = Value::Float;
        for (text, expected) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("NULL", Value::Null),
            ("nUll", Value::Text),
            ("yes", Value::Bool(true)),
            ("y", Value::Bool(true)),
            ("On", Value::Bool(true)),
            ("oN", Value::Text),
            ("off", Value::Bool(false)),
            ("N", Value::Bool(false)),
            ("12", int(12)),
            ("+12", int(12)),
            ("-12", int(-12)),
            ("0", int(0)),
            ("-0", int(0)),
            ("1_000", int(1000)),
            ("0x1F", int(31)),
            ("-0x1f", int(-31)),
            ("0b101", int(5)),
            ("-0b1", int(-1)),
            ("0o17", int(15)),
            ("017", int(15)),
            ("0x", Value::Text),
            ("0x+5", Value::Text),
            ("-", Value::Text),
            ("+-5", Value::Text),
            ("9223372036854775807", int(i64::MAX)),
            ("-9223372036854775808", int(i64::MIN)),
            ("9223372036854775808", Value::Uint(1 << 63)),
            ("18446744073709551616", float(18_446_744_073_709_551_616.0)),
            ("09", float(9.0)),
            ("1.5", float(1.5)),
            ("1.", float(1.0)),
            (".5", float(0.5)),
            (".", Value::Text),
            ("-.5e-1", float(-0.05)),
            ("1e3", float(1000.0)),
            ("1e", Value::Text),
            ("1e999", Value::Text),
            (".inf", float(f64::INFINITY)),
            ("-.INF", float(f64::NEG_INFINITY)),
            ("inf", Value::Text),
            ("1.2.3", Value::Text),
            ("2020-01-02", Value::Text),
            ("12:30", Value::Text),
            ("abc", Value::Text),
        ] {
            assert_eq!(meaning(text), expected, "{text:?}");
        }
        assert!(matches!(meaning(".nan"), Value::Float(float) if float.is_nan()));
    }

    #[test]
    fn explicit_tags_are_respected() {
        for (tag, text, expected) in [
            ("!!str", "12", Ok(Value::Text)),
            ("!!str", "", Ok(Value::Text)),
            ("!!int", "12", Ok(Value::Int(12))),
            ("!!float", "12", Ok(Value::Float(12.0))),
            ("!!bool", "yes", Ok(Value::Bool(true))),
            ("!!null", "~", Ok(Value::Null)),
            ("!own", "12", Ok(Value::Text)),
            ("!!int", "abc", Err("cannot decode !!str `abc` as a !!int".to_owned())),
            ("!!bool", "1", Err("cannot decode !!int `1` as a !!bool".to_owned())),
        ] {
            let got = Scalar::resolve(text.to_owned(), Tag::Explicit(tag.to_owned())).map(|scalar| scalar.value);
            assert_eq!(got, expected, "{tag} {text:?}");
        }
    }
}
