//! The windows of a calendar.

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, ToSpan};

use super::{Calendar, CalendarUnit};
use crate::units::{Nanos, Timestamp};

/// From one edge of a calendar to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it begins; the epoch, if that was before.
    pub begin: Timestamp,
    /// When it ends, which is when the next one begins.
    pub end: Timestamp,
}

impl Window {
    /// Whether an instant is in it.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.begin <= now && now < self.end
    }

    /// Its length.
    pub const fn length(&self) -> Nanos {
        self.end.since(self.begin)
    }

    /// Both edges in one number: the seconds of the length in the lower 26 bits, those of the beginning above them. Edges are whole
    /// seconds, because offsets of zones are. `None`: they do not fit, as those of the last years that timestamps have.
    pub(super) fn pack(self) -> Option<u64> {
        let (begin, length) = (self.begin.as_ns() / SECOND_NS, self.length().as_ns() / SECOND_NS);
        let packed = begin << LENGTH_BITS | length;
        (length < 1 << LENGTH_BITS && begin < 1 << (u64::BITS - LENGTH_BITS) && Self::unpack(packed) == self)
            .then_some(packed)
    }

    /// The window of such a number; an empty one for 0.
    pub(super) const fn unpack(packed: u64) -> Self {
        let begin = Timestamp::from_ns((packed >> LENGTH_BITS).saturating_mul(SECOND_NS));
        let length = Nanos::from_secs(packed & ((1 << LENGTH_BITS) - 1));
        Self { begin, end: begin.plus(length) }
    }
}

/// The window that has an instant.
pub(super) fn compute(calendar: &Calendar, now: Timestamp) -> Window {
    let Some(instant) = to_jiff(now) else { return EVER };
    let shown = calendar.zone.to_datetime(instant).date();
    let Some(mut first) = first_of(calendar, shown) else { return EVER };
    // What the clocks show may be a day behind: they were set back into the day before. And a window may be empty: its only day is
    // skipped. So the edges decide, a few windows around what the clocks show.
    for _ in 0..STEPS {
        let Some(next) = after(calendar, first) else { return EVER };
        let (Some(begin), Some(end)) = (begin_of(&calendar.zone, first), begin_of(&calendar.zone, next)) else {
            return EVER;
        };
        if now < begin {
            let Some(before) = first.yesterday().ok().and_then(|day| first_of(calendar, day)) else { return EVER };
            first = before;
        } else if now >= end {
            first = next;
        } else {
            return Window { begin, end };
        }
    }
    EVER
}

/// The first day of the window that a day is in.
fn first_of(calendar: &Calendar, day: Date) -> Option<Date> {
    match calendar.unit {
        CalendarUnit::Day => Some(day),
        CalendarUnit::Week => {
            let since = calendar.first_day.until(day.weekday());
            day.checked_sub(Span::new().days(since)).ok()
        }
        CalendarUnit::Month => Some(day.first_of_month()),
        CalendarUnit::Year => Some(day.first_of_year()),
    }
}

/// The first day of the window after that which begins with `first`.
fn after(calendar: &Calendar, first: Date) -> Option<Date> {
    let length = match calendar.unit {
        CalendarUnit::Day => 1.day(),
        CalendarUnit::Week => 1.week(),
        CalendarUnit::Month => 1.month(),
        CalendarUnit::Year => 1.year(),
    };
    first.checked_add(length).ok()
}

/// The first instant at which the clocks of a zone show a day or a later one.
fn begin_of(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    let midnight = zone.to_ambiguous_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
    let is_skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    // Of a midnight that comes twice, the first; of a skipped one, as long after the clocks were set as they were before it.
    let instant = midnight.compatible().ok()?;
    let instant = if is_skipped { set_before(zone, instant)? } else { instant };
    Some(from_jiff(instant))
}

/// When clocks were last set, up to an instant.
fn set_before(zone: &TimeZone, instant: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let after = instant.checked_add(1.second()).ok()?;
    zone.preceding(after).next().map(|transition| transition.timestamp())
}

fn to_jiff(instant: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_nanosecond(instant.as_ns().into()).ok()
}

/// An instant before the epoch is the epoch, and one that is too late the last one.
fn from_jiff(instant: jiff::Timestamp) -> Timestamp {
    u64::try_from(instant.as_nanosecond().max(0)).map_or(Timestamp::MAX, Timestamp::from_ns)
}

/// For instants that no calendar has: there are none, because timestamps end in the year 2554.
const EVER: Window = Window { begin: Timestamp::EPOCH, end: Timestamp::MAX };
/// Windows around the one that the clocks show: neither a skipped day nor clocks that were set back are further away.
const STEPS: usize = 8;
const SECOND_NS: u64 = 1_000_000_000;
/// A year has fewer than 2^26 seconds.
const LENGTH_BITS: u32 = 26;
