//! Whole numbers in any notation of JSON.

use serde_json::value::RawValue;

/// The value of a JSON number that is whole, whether it is written `10`, `10.0`, `1e1` or `100E-1`. `None`: it has a
/// fraction, or more digits than fit 64 bits.
pub(super) fn whole(number: &str) -> Option<i128> {
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |number| (true, number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.is_empty() && fraction.is_empty() {
        // Whatever the exponent.
        return Some(0);
    }
    let exponent: i32 = exponent.parse().ok()?;
    let shift = usize::try_from(exponent.unsigned_abs()).ok()?;
    let digits = if exponent >= 0 {
        let zeros = shift.checked_sub(fraction.len())?;
        if whole.len().saturating_add(shift) > MAX_DIGITS {
            return None;
        }
        format!("{whole}{fraction}{}", "0".repeat(zeros))
    } else {
        let (kept, dropped) = whole.split_at_checked(whole.len().checked_sub(shift)?)?;
        if !fraction.is_empty() || dropped.contains(|digit| digit != '0') {
            return None;
        }
        kept.to_owned()
    };
    let number: i128 = digits.parse().ok()?;
    Some(if negative { -number } else { number })
}

/// The whole number in a text that consists only of a JSON number, without spaces.
pub(super) fn whole_in_text(text: &str) -> Option<i128> {
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let number: &RawValue = serde_json::from_str(text).ok().filter(|_| is_number)?;
    (number.get() == text).then_some(())?;
    whole(text)
}

/// The digits of the largest 64-bit number; numbers with more are not expanded.
const MAX_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.0", Some(0)),
            ("-0.000e-7", Some(0)),
            ("0e99999999999999", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("3.0", Some(3)),
            ("3.000", Some(3)),
            ("1e1", Some(10)),
            ("1E+1", Some(10)),
            ("1.5e1", Some(15)),
            ("1.50e1", Some(15)),
            ("0.001e3", Some(1)),
            ("100e-2", Some(1)),
            ("100.0e-2", Some(1)),
            ("1e0", Some(1)),
            ("4294967295.0", Some(4_294_967_295)),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1844674407370955161.5e1", Some(i128::from(u64::MAX))),
            ("2.5", None),
            ("1.55e1", None),
            ("15e-1", None),
            ("10e-3", None),
            ("10.5e-1", None),
            ("1e-1", None),
            ("1e20", None),
            ("1e999999999999", None),
            ("1e-999999999999", None),
            ("100000000000000000000000000000000000000000", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
            assert_eq!(whole_in_text(text), expected, "{text:?}");
        }
        for text in
            ["", " ", "3 ", " 3", "3\n", "03", "-03", "+3", "--3", "3.", ".5", "0x10", "1e", "1e+", "3a", "3,", "\"3\""]
        {
            assert_eq!(whole_in_text(text), None, "{text:?}");
        }
        for text in ["null", "true", "[3]", "{}", "NaN", "Infinity", "\u{663}", "1_000"] {
            assert_eq!(whole_in_text(text), None, "{text:?}");
        }
    }
}
