//! The largest used share of a rule's limit in the last minutes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::units::Timestamp;

/// The largest used share of a limit that a check has found, in each of the last two minutes.
///
/// There are two words, for even and for odd minutes. In each the minute is in the higher bits and the share in the lower
/// ones, so that the maximum prefers a later minute, and then a larger share.
#[derive(Debug, Default)]
pub(super) struct Peak([AtomicU64; 2]);

impl Peak {
    /// Records that a check found `used` of `capacity` hits used, itself included. Cost: a division and a load; a write only if
    /// the share is larger than before.
    pub(super) fn raise(&self, now: Timestamp, used: u64, capacity: u64) {
        let minute = minute(now);
        let peak = minute << SHARE_BITS | share(used, capacity);
        let [even, odd] = &self.0;
        let place = if minute.is_multiple_of(2) { even } else { odd };
        if place.load(Ordering::Relaxed) < peak {
            place.fetch_max(peak, Ordering::Relaxed);
        }
    }

    /// The largest share in the minute of `now` and the one before: from 0 to 1.
    pub(super) fn share(&self, now: Timestamp) -> f64 {
        let minute = minute(now);
        let recent = |place: &AtomicU64| {
            let peak = place.load(Ordering::Relaxed);
            if peak >> SHARE_BITS >= minute.saturating_sub(1) { peak & ((1 << SHARE_BITS) - 1) } else { 0 }
        };
        let millionths = self.0.iter().map(recent).max().unwrap_or(0);
        f64::from(u32::try_from(millionths).unwrap_or(u32::MAX)) / f64::from(MILLION)
    }
}

fn minute(now: Timestamp) -> u64 {
    now.as_ns() / 60_000_000_000
}

/// The share in millionths, at most all of them.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A share needs no 24 bits.
fn share(used: u64, capacity: u64) -> u64 {
    if used >= capacity {
        return MILLION.into();
    }
    (used as f32 / capacity as f32 * MILLION as f32) as u64
}

/// A million takes twenty bits; the minutes of the whole range of time take thirty.
const SHARE_BITS: u32 = 32;
const MILLION: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    #[test]
    fn the_largest_share_of_this_minute_and_the_last_is_kept() {
        let at = |seconds: u64| Timestamp::EPOCH.plus(Nanos::from_secs(1_700_000_040 + seconds));
        let peak = Peak::default();
        assert_eq!(peak.share(at(0)).to_bits(), 0.0_f64.to_bits());
        for (seconds, used, capacity, want) in [
            (0, 1, 4, 0.25),
            (1, 3, 4, 0.75),
            (2, 1, 4, 0.75),
            // The next minute still has the share, the one after that does not.
            (60, 1, 4, 0.75),
            (120, 1, 2, 0.5),
            (180, 9, 4, 1.0),
            (240, 0, 0, 1.0),
        ] {
            peak.raise(at(seconds), used, capacity);
            let share = peak.share(at(seconds));
            assert!((share - want).abs() < 1e-6, "{seconds} s: {share}, not {want}");
        }
        assert!(peak.share(at(600)) < 1e-9);
    }
}
