//! Quotes values as the messages of the reference do: the `%v` of Go, and the beginning of a scalar in backquotes.

use super::yaml::{Kind, Node, Scalar, Value};

/// Quoted values are cut at this length, because a message is one line.
const MAX_QUOTED: usize = 1_000;

/// A value as `%v` prints it: `<nil>`, `abc`, `0.25`, `[a b]`, `map[a:1 b:2]`.
pub(super) fn value(node: &Node) -> String {
    let mut quoted = String::new();
    write(node, &mut quoted);
    if let Some((cut, _)) = quoted.char_indices().nth(MAX_QUOTED) {
        quoted.truncate(cut);
        quoted.push('…');
    }
    quoted
}

/// A node's tag, and for a scalar the beginning of its text: ``!!str `abc` ``, `!!seq`.
pub(super) fn tagged(node: &Node) -> String {
    match &node.kind {
        Kind::Scalar(Scalar { text, tag, .. }) if text.len() > 10 => {
            let start = text.char_indices().map(|(at, _)| at).take_while(|&at| at <= 7).last().unwrap_or(0);
            format!("{tag} `{}...`", text.get(..start).unwrap_or_default())
        }
        Kind::Scalar(Scalar { text, tag, .. }) => format!("{tag} `{text}`"),
        Kind::List(_) => "!!seq".to_owned(),
        Kind::Map(_) | Kind::Invalid => "!!map".to_owned(),
    }
}

fn write(node: &Node, out: &mut String) {
    if out.len() > 4 * MAX_QUOTED {
        return;
    }
    match &node.kind {
        Kind::Scalar(scalar) => out.push_str(&leaf(scalar)),
        Kind::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                write(item, out);
            }
            out.push(']');
        }
        Kind::Map(pairs) => {
            let mut pairs: Vec<_> =
                pairs.iter().map(|pair| format!("{}:{}", value(&pair.key), value(&pair.value))).collect();
            pairs.sort();
            out.push_str("map[");
            out.push_str(&pairs.join(" "));
            out.push(']');
        }
        Kind::Invalid => {}
    }
}

fn leaf(scalar: &Scalar) -> String {
    match scalar.value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Uint(uint) => uint.to_string(),
        Value::Float(number) => float(number),
        Value::Text => scalar.text.clone(),
    }
}

/// The shortest decimal digits; with an exponent of at least two digits if it is below -4 or above 20.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::{Node, read};

    fn node(text: &str) -> Node {
        read(text.as_bytes()).unwrap().root
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("~", "<nil>"),
            ("abc", "abc"),
            ("yes", "true"),
            ("0x10", "16"),
            ("0.25", "0.25"),
            ("1.0", "1"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("0.00001", "1e-05"),
            ("-.inf", "-Inf"),
            ("[a, [1, ~], {b: 2, a: 1}]", "[a [1 <nil>] map[a:1 b:2]]"),
        ] {
            assert_eq!(super::value(&node(text)), expected, "{text}");
        }
    }

    #[test]
    fn tagged_starts() {
        for (text, expected) in [
            ("abc", "!!str `abc`"),
            ("4294967296", "!!int `4294967296`"),
            ("42949672960", "!!int `4294967...`"),
            ("'éééééééé'", "!!str `ééé...`"),
            ("[a]", "!!seq"),
            ("{a: b}", "!!map"),
        ] {
            assert_eq!(super::tagged(&node(text)), expected, "{text}");
        }
    }
}
