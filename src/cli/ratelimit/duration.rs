//! Durations as Go writes them: `24h`, `1h30m`, `1.5s`, `300ms`.

/// The duration in nanoseconds.
///
/// # Errors
/// It is none, or longer than 290 years.
pub(super) fn nanoseconds(text: &str) -> Result<u64, String> {
    let wrong = || "expected a duration such as 24h, 90s or 1h30m".to_owned();
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut sum) = (text, 0.0_f64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, behind) = rest.split_at(end);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(unit_end);
        let length = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, length)| length).ok_or_else(wrong)?;
        sum += number.parse::<f64>().map_err(|_| wrong())? * length;
        rest = next;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the range")]
    if text.is_empty() || !(0.0..=LONGEST_NS).contains(&sum) { Err(wrong()) } else { Ok(sum.round() as u64) }
}

const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3_600e9)];
/// What Go can hold.
const LONGEST_NS: f64 = 9.2e18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("24h", Some(86_400_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("300ms", Some(300_000_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1d", None),
            ("-1s", None),
            ("99999999h", None),
        ] {
            assert_eq!(nanoseconds(text).ok(), expected, "{text}");
        }
    }
}
