//! Makes untrusted text safe to show in logs, on pages and terminals: text from clients, files, peers and the system.
//!
//! Text in a structured format (JSON, HTML, YAML) is escaped by the rules of that format, not here; [`sanitize_json`] is for complete
//! JSON on a terminal.

use std::fmt::Write;

/// The text as one line of at most 200 bytes, with control characters escaped: it can neither end the line nor control the
/// terminal that shows it.
pub(crate) fn sanitize(text: &str) -> String {
    sanitize_within(MAX_BYTES, text)
}

/// As [`sanitize`], with at most `max_bytes`: for texts with several names.
pub(crate) fn sanitize_within(max_bytes: usize, text: &str) -> String {
    escaped(max_bytes, text, acts_on_display)
}

/// As [`sanitize`], but with line ends and of any length: for our own messages that quote bounded parts of a text.
pub(crate) fn sanitize_lines(text: &str) -> String {
    escaped(usize::MAX, text, |c| c != '\n' && acts_on_display(c))
}

/// JSON in one line, with the same meaning: characters that act on the display are escaped as in JSON. They can only be inside
/// its strings.
pub(crate) fn sanitize_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if acts_on_display(c) {
            // All of them are below U+10000. Writing to a String does not fail.
            let _written = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

fn escaped(max_bytes: usize, text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len().min(max_bytes));
    for c in text.chars() {
        let before = shown.len();
        if is_escaped(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        if shown.len() > max_bytes {
            shown.truncate(before);
            shown.push('…');
            break;
        }
    }
    shown
}

/// Control characters, and those that change the direction of text or end a line.
fn acts_on_display(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Enough to identify a domain, a rule or an entry.
const MAX_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let cases = [
            ("acme", "acme".to_owned()),
            ("", String::new()),
            ("a\nb\x1b[31m\r\0", r"a\nb\u{1b}[31m\r\u{0}".to_owned()),
            ("é\u{202e}x", r"é\u{202e}x".to_owned()),
            (&"x".repeat(200), "x".repeat(200)),
            (&"x".repeat(201), format!("{}…", "x".repeat(200))),
            (&"é".repeat(101), format!("{}…", "é".repeat(100))),
            (&"\n".repeat(1_000), format!("{}…", r"\n".repeat(100))),
        ];
        for (text, expected) in cases {
            assert_eq!(sanitize(text), expected, "{text:?}");
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = "a\u{9b}31m\u{7f}\u{202e}\u{2028}é\"\n";
        let json = serde_json::to_string(text).unwrap();
        let shown = sanitize_json(&json);
        assert_eq!(shown, r#""a\u009b31m\u007f\u202e\u2028é\"\n""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn lines() {
        let long = "x".repeat(10_000);
        for (text, expected) in [
            (
                "a\nb\x1b\u{202e}\r",
                r"a
b\u{1b}\u{202e}\r",
            ),
            (&long, &long),
        ] {
            assert_eq!(sanitize_lines(text), expected, "{text:?}");
        }
    }
}
