//! Texts of clients, as people are shown them.

/// The text on one line: control characters escaped, and cut after 200 bytes. It can neither end a line nor steer the
/// terminal that shows it.
pub fn legible(text: &str) -> String {
    legible_within(MAX_BYTES, text)
}

/// As [`legible`], but cut after `max_bytes`: for texts that hold several names.
pub fn legible_within(max_bytes: usize, text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(max_bytes));
    for c in text.chars() {
        let before = shown.len();
        if steers(c) {
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
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value that is told apart by more is no name.
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
            assert_eq!(legible(text), expected, "{text:?}");
        }
    }
}
