//! Numbers of bytes as values of flags.

use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        let unit = byte_unit(suffix.trim()).ok_or_else(|| format!("unknown suffix '{suffix}': use KiB, MiB or GiB"))?;
        let number: u64 = number.parse().map_err(|_| "expected a number such as 512MiB".to_owned())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| "the number of bytes is too large".to_owned())
    }
}

fn byte_unit(suffix: &str) -> Option<u64> {
    Some(match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_sizes() {
        let cases = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("1GiB", Some(1 << 30)),
            ("512 MiB", Some(512 << 20)),
            ("2gb", Some(2_000_000_000)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("99999999999TiB", None),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<ByteSize>().ok(), want.map(ByteSize), "{text:?}");
        }
    }
}
