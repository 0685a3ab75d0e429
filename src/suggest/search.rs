//! The search for the number of a limit.

/// A share of requests that may be denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// In thousandths.
    per_mille: u64,
    /// As people write it.
    pub text: &'static str,
}

/// None, one in a thousand, one in a hundred.
pub const SHARES: [Share; 3] =
    [Share { per_mille: 0, text: "0 %" }, Share { per_mille: 1, text: "0.1 %" }, Share { per_mille: 10, text: "1 %" }];

impl Share {
    /// The number of `requests` that may be denied, rounded down.
    pub fn of(self, requests: u64) -> u64 {
        let denied = u128::from(requests) * u128::from(self.per_mille) / 1_000;
        u64::try_from(denied).unwrap_or(u64::MAX)
    }
}

/// A number with which at most `allowed` requests are denied, while with one less there are more; `None` if even with `most` too
/// many are denied.
///
/// If denials only ever become fewer with a larger number, it is the least such number. (They may not: a request of many hits
/// that is admitted can leave less for others.) Cost: `denied` is called about 32 times.
pub(super) fn boundary(allowed: u64, most: u32, mut denied: impl FnMut(u32) -> u64) -> Option<u32> {
    if denied(0) <= allowed {
        return Some(0);
    }
    if denied(most) > allowed {
        return None;
    }
    // Below: too many are denied. Above: not too many.
    let (mut below, mut above) = (0, most);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if denied(middle) <= allowed {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down() {
        let [none, thousandth, hundredth] = SHARES;
        for (requests, expected) in
            [(0, [0, 0, 0]), (99, [0, 0, 0]), (100, [0, 0, 1]), (999, [0, 0, 9]), (2_000, [0, 2, 20])]
        {
            assert_eq!([none, thousandth, hundredth].map(|share| share.of(requests)), expected, "{requests}");
        }
        assert_eq!(hundredth.of(u64::MAX), u64::MAX / 100);
    }

    #[test]
    fn the_number_before_the_boundary_denies_more() {
        for most in [0, 1, 2, 7, 1_000, u32::MAX] {
            for first in [0, 1, 2, 5, 6, 999, 4_000_000_000] {
                let found = boundary(3, most, |max| if max < first { 4 } else { 3 });
                assert_eq!(found, Some(first).filter(|first| *first <= most), "{first} up to {most}");
            }
        }
        // Not monotone: any boundary will do.
        let odd = |max: u32| u64::from(max < 3 || (5..8).contains(&max));
        let found = boundary(0, 100, odd).unwrap();
        assert!(odd(found) == 0 && odd(found - 1) == 1, "{found}");
    }
}
