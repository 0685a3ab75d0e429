//! Chooses the rows that answer a query: as coarse as the range and the buckets allow, and coarser where finer rows have
//! been removed.
//!
//! A row belongs to the range in which it begins, so that adjacent ranges have no row in common.

use super::resolution::{ALL, Resolution};

/// A table, and the range of its rows to read: `from` is inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) resolution: Resolution,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Each resolution, and the time since which its rows are complete.
pub(super) type Kept = Vec<(Resolution, i64)>;

/// The segments of the range, ascending, without gaps or overlaps. `bucket` is the length of the buckets in seconds.
///
/// Before the first remaining hour there are only days, and before the first remaining minute only hours, whatever the bucket.
pub(super) fn plan(kept: &Kept, from: i64, to: i64, bucket: Option<i64>) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut begin = from;
    for resolution in ALL.into_iter().rev().filter(|resolution| since(kept, *resolution).is_some()) {
        let finer = ALL.into_iter().rev().filter(|finer| *finer < resolution).find_map(|finer| since(kept, finer));
        let end = finer.unwrap_or(i64::MAX).min(to);
        if begin < end {
            split(kept, Segment { resolution, from: begin, to: end }, Resolution::Day, bucket, &mut segments);
            begin = end;
        }
    }
    segments
}

/// Reads the middle of a segment from the table of `coarser`, if that is possible, and the ends from finer tables.
fn split(kept: &Kept, segment: Segment, coarser: Resolution, bucket: Option<i64>, segments: &mut Vec<Segment>) {
    let Segment { resolution, from, to } = segment;
    if from >= to {
        return;
    }
    let Some(next) = coarser.finer().filter(|_| coarser > resolution) else { return segments.push(segment) };
    let fits = bucket.is_none_or(|bucket| bucket % coarser.seconds() == 0) && since(kept, coarser).is_some();
    let (begin, end) = (coarser.ceil(from), coarser.floor(to));
    if !fits || begin >= end {
        return split(kept, segment, next, bucket, segments);
    }
    split(kept, Segment { resolution, from, to: begin }, next, bucket, segments);
    segments.push(Segment { resolution: coarser, from: begin, to: end });
    split(kept, Segment { resolution, from: end, to }, next, bucket, segments);
}

fn since(kept: &Kept, resolution: Resolution) -> Option<i64> {
    kept.iter().find(|(kept, _)| *kept == resolution).map(|(_, since)| *since)
}

#[cfg(test)]
mod tests {
    use super::Resolution::{Day, Hour, Minute};
    use super::*;

    const H: i64 = 3_600;
    const D: i64 = 86_400;

    fn check(kept: &Kept, (from, to): (i64, i64), bucket: Option<i64>, want: &[(Resolution, i64, i64)]) {
        let want: Vec<_> = want.iter().map(|&(resolution, from, to)| Segment { resolution, from, to }).collect();
        assert_eq!(plan(kept, from, to, bucket), want, "{kept:?} {from}..{to} by {bucket:?}");
    }

    #[test]
    fn the_coarsest_rows_that_fit() {
        let all = vec![(Minute, 0), (Hour, 0), (Day, 0)];
        check(&all, (0, D), None, &[(Day, 0, D)]);
        check(
            &all,
            (60, 3 * D + 60),
            None,
            &[(Minute, 60, H), (Hour, H, D), (Day, D, 3 * D), (Minute, 3 * D, 3 * D + 60)],
        );
        check(&all, (0, 3 * D), Some(60), &[(Minute, 0, 3 * D)]);
        check(&all, (0, 3 * D), Some(2 * H), &[(Hour, 0, 3 * D)]);
        check(&all, (0, 3 * D), Some(H + 60), &[(Minute, 0, 3 * D)]);
        check(&all, (7, 9), None, &[(Minute, 7, 9)]);
        check(&all, (9, 9), None, &[]);
    }

    #[test]
    fn what_is_left_decides() {
        let kept = vec![(Minute, 9 * D + 5 * H), (Hour, 7 * D), (Day, 0)];
        check(
            &kept,
            (0, 10 * D),
            Some(60),
            &[(Day, 0, 7 * D), (Hour, 7 * D, 9 * D + 5 * H), (Minute, 9 * D + 5 * H, 10 * D)],
        );
        check(
            &kept,
            (0, 10 * D),
            Some(D),
            &[(Day, 0, 7 * D), (Day, 7 * D, 9 * D), (Hour, 9 * D, 9 * D + 5 * H), (Hour, 9 * D + 5 * H, 10 * D)],
        );
        let memory = vec![(Minute, 600)];
        check(&memory, (600, 2 * D), None, &[(Minute, 600, 2 * D)]);
    }
}
