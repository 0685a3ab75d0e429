//! The bytes of a file -> its characters, decoded as by the reference's YAML library.

use std::borrow::Cow;

use super::Fault;

/// The characters of a file, with a mapping of lines to those that an editor shows.
#[derive(Debug)]
pub(super) struct Decoded<'f> {
    /// The characters, without a byte order mark, and with `\n` for each U+0085.
    pub(super) text: Cow<'f, str>,
    /// The lines of `text`, from 1, that end with a U+0085: editors show no line end there.
    joined: Vec<usize>,
}

impl Decoded<'_> {
    /// The line in the file, as an editor counts, of a line of the text.
    pub(super) fn line_in_file(&self, line: usize) -> usize {
        line.saturating_sub(self.joined.partition_point(|&joined| joined < line))
    }
}

/// Decodes UTF-8, with a byte order mark or without, and UTF-16 with one.
///
/// # Errors
/// The first byte that is not valid, or a character that YAML does not allow.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Fault> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(utf8(rest)?),
        _ => Cow::Borrowed(utf8(bytes)?),
    };
    if let Some((at, c)) = text.char_indices().find(|&(_, c)| !is_printable(c)) {
        let hint = if c == '\0' { ": is this UTF-16 without a byte order mark?" } else { "" };
        let cause = format!("control characters are not allowed{hint}");
        return Err(Fault { line: line_at(&text, at), cause });
    }
    Ok(with_line_ends(text))
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|&byte| byte == b'\n').count();
        Fault { line, cause: "invalid UTF-8: save the file as UTF-8".to_owned() }
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Fault> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    for c in char::decode_utf16(pairs.iter().map(|&pair| unit(pair))) {
        match c {
            Ok(c) => text.push(c),
            Err(_) => return Err(broken_utf16(&text)),
        }
    }
    if rest.is_empty() { Ok(text) } else { Err(broken_utf16(&text)) }
}

fn broken_utf16(before: &str) -> Fault {
    Fault { line: line_at(before, before.len()), cause: "invalid UTF-16: save the file as UTF-8".to_owned() }
}

/// U+0085 ends a line in YAML 1.1 only; the parser treats it as any other character.
fn with_line_ends(text: Cow<'_, str>) -> Decoded<'_> {
    if !text.contains(NEXT_LINE) {
        return Decoded { text, joined: Vec::new() };
    }
    let ends = text.chars().filter(|c| ['\n', NEXT_LINE].contains(c));
    let joined = (1..).zip(ends).filter(|(_, end)| *end == NEXT_LINE).map(|(line, _)| line).collect();
    Decoded { text: Cow::Owned(text.replace(NEXT_LINE, "\n")), joined }
}

const NEXT_LINE: char = '\u{85}';

fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

/// The characters of a YAML stream (YAML 1.1, section 5.1).
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn encodings() {
        for text in ["a: 1\nb: é", "", "a: \u{1f600}"] {
            let marked = format!("\u{feff}{text}");
            for bytes in [
                text.as_bytes().to_vec(),
                marked.as_bytes().to_vec(),
                utf16(&marked, u16::to_le_bytes),
                utf16(&marked, u16::to_be_bytes),
            ] {
                assert_eq!(decode(&bytes).unwrap().text, text, "{bytes:x?}");
            }
        }
        for (bytes, line, cause) in [
            (b"a: 1\nb: \xff".to_vec(), 2, "invalid UTF-8"),
            (b"\xff\xfea\0\n\0\x00\xd8b\0".to_vec(), 2, "invalid UTF-16"),
            (b"\xff\xfea\0b".to_vec(), 1, "invalid UTF-16"),
            (b"a\0:\0".to_vec(), 1, "control characters are not allowed: is this UTF-16"),
            (b"a: 1\nb: \x01".to_vec(), 2, "control characters are not allowed"),
            ("a: 1\nb: \u{feff}".as_bytes().to_vec(), 2, "control characters are not allowed"),
        ] {
            let fault = decode(&bytes).unwrap_err();
            assert!(fault.line == line && fault.cause.starts_with(cause), "{bytes:x?}: {fault:?}");
        }
    }

    #[test]
    fn a_next_line_ends_a_line_of_yaml_but_none_of_the_editor() {
        let decoded = decode("a\u{85}b\nc\u{85}\u{85}d\ne".as_bytes()).unwrap();
        assert_eq!(decoded.text, "a\nb\nc\n\nd\ne");
        let lines: Vec<_> = (1..=6).map(|line| decoded.line_in_file(line)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3]);
    }
}
