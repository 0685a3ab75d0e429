//! The labels of metrics, and the spelling of names in the reference service's metrics.

use std::borrow::Cow;

/// The domain of a check.
pub(super) const DOMAIN: &str = "domain";
pub(super) const PORT: &str = "port";
/// The first level of a rule, as `key_value`.
pub(super) const KEY1: &str = "key1";
/// The second level of a rule, as `key_value`.
pub(super) const KEY2: &str = "key2";
/// The rule's whole path.
pub(super) const RULE: &str = "rule";
/// The kind of an error.
pub(super) const ERR_TYPE: &str = "err_type";
/// The method of a request.
pub(super) const GRPC_METHOD: &str = "grpc_method";
/// The position of a limit within its rule, from 1.
pub(super) const LIMIT: &str = "limit";
/// Why limits are lifted.
pub(super) const REASON: &str = "reason";
/// The length of a window in seconds.
pub(super) const PERIOD: &str = "period";
/// The consumer of denied checks: `log` or `alerts`.
pub(super) const CONSUMER: &str = "consumer";
/// The outcome of a delivery.
pub(super) const RESULT: &str = "result";
/// The upper bound of a histogram's bucket, in seconds.
pub(super) const LE: &str = "le";
/// An entry key.
pub(super) const KEY: &str = "key";
/// The value of an entry.
pub(super) const VALUE: &str = "value";
/// `true` for the series that aggregates the values without a series of their own.
pub(super) const OTHER: &str = "other";
/// A node of the store of shared counters.
pub(super) const NODE: &str = "node";
/// The kind of a request.
pub(super) const KIND: &str = "kind";
/// The name of an error.
pub(super) const ERROR: &str = "error";
/// How shared counters are counted.
pub(super) const MODE: &str = "mode";
/// What a check was answered.
pub(super) const ANSWER: &str = "answer";
/// The version of the program.
pub(super) const VERSION: &str = "version";

/// A domain or a level of a rule as the label that dashboards made for the reference service expect: `:` and `|` become `_`,
/// and so do the dots of what looks like an IPv4 address, because these characters have a meaning in its statistics' names.
///
/// The label `rule` keeps the original text, which distinguishes rules that are spelled the same after this.
pub(super) fn sanitized(text: &str) -> Cow<'_, str> {
    if !text.contains([':', '|', '.']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace([':', '|'], "_");
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if let Some((address, behind)) = split_ipv4(rest) {
            shown.extend(address.chars().map(|c| if c == '.' { '_' } else { c }));
            rest = behind;
        } else {
            shown.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    Cow::Owned(shown)
}

/// Splits `text` behind four numbers of one to three digits with dots between, if it begins with them. The rest may begin
/// with a digit, as in the reference: the last number takes no more than three digits.
fn split_ipv4(text: &str) -> Option<(&str, &str)> {
    let mut taken = 0;
    for number in 0..4 {
        if number > 0 {
            text.get(taken..)?.starts_with('.').then_some(())?;
            taken += 1;
        }
        let digits = text.bytes().skip(taken).take(3).take_while(u8::is_ascii_digit).count();
        (digits > 0).then_some(())?;
        taken += digits;
    }
    text.split_at_checked(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, expected) in [
            ("api", "api"),
            ("", ""),
            ("api.example.com", "api.example.com"),
            ("a:b|c", "a_b_c"),
            ("path_/v1.2:x", "path_/v1.2_x"),
            ("masked_remote_address_192.168.0.0/16", "masked_remote_address_192_168_0_0/16"),
            ("masked_remote_address_invert_192.0.2.0/24", "masked_remote_address_invert_192_0_2_0/24"),
            ("0.0.0.0", "0_0_0_0"),
            ("10.0.0.1:8080", "10_0_0_1_8080"),
            ("::ffff:10.0.0.1", "__ffff_10_0_0_1"),
            ("999.999.999.999", "999_999_999_999"),
            ("1.2.3", "1.2.3"),
            ("1.2.3.", "1.2.3."),
            ("1.2.3.x", "1.2.3.x"),
            ("1.2..3.4", "1.2..3.4"),
            ("1234.1.1.1", "1234_1_1_1"),
            ("1.1234.1.1.1", "1.1234_1_1_1"),
            ("192.168.0.1234.5", "192_168_0_1234.5"),
            ("1.2.3.4.5.6.7.8", "1_2_3_4.5_6_7_8"),
            ("1.2.3.4.5", "1_2_3_4.5"),
            ("ip_1.2.3.4,5.6.7.8", "ip_1_2_3_4,5_6_7_8"),
            ("é1.2.3.4é", "é1_2_3_4é"),
            ("1.2.3.\u{664}", "1.2.3.\u{664}"),
            // No address: a `:` is between its numbers.
            ("1.2.3:4", "1.2.3_4"),
        ] {
            assert_eq!(sanitized(text), expected, "{text}");
        }
    }
}
