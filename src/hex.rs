//! Bytes as text: two hexadecimal digits for each.

use std::fmt::Write as _;

/// The digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    push_hex(&mut text, bytes);
    text
}

/// Adds the digits.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _written = write!(text, "{byte:02x}");
    }
}
