//! Parses descriptors and entries of the command line: `KEY=VALUE,KEY=VALUE`.
//!
//! A comma inside a value is written `\,`, or the whole value is quoted: `KEY="a,b"`. A backslash escapes `,`, `=`, `"` and
//! `\`, and is literal before anything else; a quote is special only at the beginning of a value.

use std::iter::Peekable;
use std::str::Chars;

use crate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use crate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use crate::api::proto::tidegate::v1;

/// Parses the value of `--descriptor`.
///
/// # Errors
/// What is wrong, and how to write it.
pub(super) fn parse(text: &str) -> Result<RateLimitDescriptor, String> {
    let mut rest = text.chars().peekable();
    let mut entries = Vec::new();
    loop {
        entries.push(entry(&mut rest)?);
        if rest.next().is_none() {
            return Ok(RateLimitDescriptor { entries, ..RateLimitDescriptor::default() });
        }
    }
}

/// Parses the value of `--entry`: exactly one entry.
///
/// # Errors
/// What is wrong, and how to write it.
pub(super) fn parse_entry(text: &str) -> Result<v1::Entry, String> {
    let mut rest = text.chars().peekable();
    let Entry { key, value } = entry(&mut rest)?;
    match rest.next() {
        None => Ok(v1::Entry { key, value }),
        Some(_) => {
            Err(r"is more than one entry: repeat the flag for more; write a comma inside a value as \,".to_owned())
        }
    }
}

/// One entry, up to the next comma or the end.
fn entry(rest: &mut Peekable<Chars<'_>>) -> Result<Entry, String> {
    let key = until(rest, &[',', '=']);
    if rest.next_if_eq(&'=').is_none() {
        return Err(format!(
            r#"'{key}' has no '=': write KEY=VALUE (KEY= for an empty value); for a comma inside a value write \, or quote the value, KEY="a,b""#
        ));
    }
    if key.is_empty() {
        return Err(format!("'={}' has no key: write KEY=VALUE", until(rest, &[','])));
    }
    let value = if rest.next_if_eq(&'"').is_some() { quoted(&key, rest)? } else { until(rest, &[',']) };
    Ok(Entry { key, value })
}

/// The text up to one of `ends`, which is not consumed.
fn until(rest: &mut Peekable<Chars<'_>>, ends: &[char]) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next_if(|c| !ends.contains(c)) {
        text.push(unescaped(c, rest));
    }
    text
}

/// The text up to the closing quote, which must end the value.
fn quoted(key: &str, rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut value = String::new();
    loop {
        match rest.next() {
            None => return Err(format!(r#"the value of '{key}' has no closing '"': write \" for a literal quote"#)),
            Some('"') => break,
            Some(c) => value.push(unescaped(c, rest)),
        }
    }
    match rest.peek() {
        None | Some(',') => Ok(value),
        Some(_) => {
            Err(format!(r#"the value of '{key}' continues after its closing '"': write \" for a literal quote"#))
        }
    }
}

/// The character that `c` and the text after it encode.
fn unescaped(c: char, rest: &mut Peekable<Chars<'_>>) -> char {
    if c == '\\' { rest.next_if(|next| SPECIAL.contains(next)).unwrap_or(c) } else { c }
}

const SPECIAL: [char; 4] = [',', '=', '"', '\\'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("k=v", &[("k", "v")]),
            ("k=", &[("k", "")]),
            ("k=\"\"", &[("k", "")]),
            ("a=1,b=2,c=", &[("a", "1"), ("b", "2"), ("c", "")]),
            ("k=a=b", &[("k", "a=b")]),
            (r"ua=Mozilla/5.0 (X11\, Linux),b=2", &[("ua", "Mozilla/5.0 (X11, Linux)"), ("b", "2")]),
            (r#"ua="Mozilla/5.0 (X11, Linux)",b=2"#, &[("ua", "Mozilla/5.0 (X11, Linux)"), ("b", "2")]),
            (r#"k="a\"b\\c,d\,=""#, &[("k", r#"a"b\c,d,="#)]),
            (r#"etag=\"abc\""#, &[("etag", "\"abc\"")]),
            (r#"k=say "hi""#, &[("k", "say \"hi\"")]),
            (r"path=C:\new\\old\", &[("path", r"C:\new\old\")]),
            (r"a\=b=c", &[("a=b", "c")]),
            (r"a\,b=c", &[("a,b", "c")]),
            ("sch\u{fc}ssel=\u{1f980}", &[("sch\u{fc}ssel", "\u{1f980}")]),
        ];
        for (text, expected) in cases {
            let descriptor = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let entries: Vec<_> = descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
            assert_eq!(entries, *expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_descriptor_is_an_error_that_says_what_to_write() {
        let cases = [
            ("", "'' has no '=': write KEY=VALUE"),
            ("k", "'k' has no '='"),
            ("k=v,", "'' has no '='"),
            (
                "ua=Mozilla/5.0 (X11, Linux)",
                "' Linux)' has no '=': write KEY=VALUE (KEY= for an empty value); for a comma",
            ),
            ("=v", "'=v' has no key"),
            ("a=1,=2,b=3", "'=2' has no key"),
            ("k=\"v", "the value of 'k' has no closing '\"'"),
            ("k=\"v\\\"", "the value of 'k' has no closing '\"'"),
            ("k=\"v\"w", "the value of 'k' continues after its closing '\"'"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn an_entry_is_exactly_one() {
        let entry = |key: &str, value: &str| Ok(v1::Entry { key: key.to_owned(), value: value.to_owned() });
        let cases = [
            ("tenant=acme", entry("tenant", "acme")),
            ("tenant=", entry("tenant", "")),
            (r"tenant=a\,b", entry("tenant", "a,b")),
            ("tenant=\"a,b\"", entry("tenant", "a,b")),
            ("tenant=a,b=c", Err("is more than one entry")),
            ("tenant=a,", Err("is more than one entry")),
            ("tenant", Err("'tenant' has no '='")),
        ];
        for (text, expected) in cases {
            match (parse_entry(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{text}: {error}"),
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
