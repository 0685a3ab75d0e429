//! Which rows answer a query: as coarse as the range and the buckets allow, and as the rows that are left demand.
//!
//! A row counts where it begins: a range holds the rows that begin in it, so that adjacent ranges share none.

use super::resolution::{ALL, Resolution};

/// A table, and from where (inclusive) to where (exclusive) its rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) resolution: Resolution,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// A resolution, and since when its rows are complete.
pub(super) type Kept = Vec<(Resolution, i64)>;

/// The pieces of the range, ascending, without gap or overlap. `bucket` is the length of the buckets in seconds.
///
/// Before the first hour that is left there are only days, before the first minute only hours, whatever the bucket.
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

/// Reads the middle of a piece from the table of `coarser`, if that may be, and its ends from finer ones.
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
