//! Untrusted text, made safe to show: what clients, files, peers and the system say, in logs, on pages and terminals.
//!
//! What is written into a format of its own (JSON, HTML, YAML) is escaped as that format asks for, not here.

/// The text on one line: characters that act on a display escaped, and cut after 200 bytes. It can neither end a line nor
/// steer the terminal that shows it.
pub(crate) fn sanitize(text: &str) -> String {
    sanitize_within(MAX_BYTES, text)
}

/// As [`sanitize`], but cut after `max_bytes`: for texts that hold several names.
pub(crate) fn sanitize_within(max_bytes: usize, text: &str) -> String {
    escaped(max_bytes, text, acts_on_display)
}

/// As [`sanitize`], but line ends stay, and nothing is cut: for messages of our own that quote bounded parts of a text.
pub(crate) fn sanitize_lines(text: &str) -> String {
    escaped(usize::MAX, text, |c| c != '\n' && acts_on_display(c))
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

/// Besides the control characters, those that turn the direction of a text around or end a line.
fn acts_on_display(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// No name of a domain, a rule or an entry need be longer to be recognized.
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
