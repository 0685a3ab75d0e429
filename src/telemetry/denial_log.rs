//! The denial log: one line per denied check, with all its entries. The number of lines is bounded per rule.
//!
//! ```text
//! Denials --Listener--> a thread: Bounds decides which denials get a line, and counts the others --> the log
//! ```
//! While the log is off it has no listener, and a denial costs the decision path one load.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::runtime::threads::{Stop, Wait, Worker};
use crate::sanitize::sanitize;
use crate::settings::DenialLog;
use crate::units::{Nanos, Timestamp};
use crate::usage::{Denial, Denials, DeniedLimit, Listener};

/// Writes denied checks to the log until it is dropped.
#[derive(Debug)]
pub struct DenialLogger {
    /// None while the log is off.
    _worker: Option<Worker>,
    lost: Arc<AtomicU64>,
}

impl DenialLogger {
    /// Starts the thread; none for [`DenialLog::Off`].
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(which: DenialLog, denials: &Arc<Denials>) -> io::Result<Self> {
        let lost = Arc::new(AtomicU64::new(0));
        let Some(bounds) = Bounds::new(which) else { return Ok(Self { _worker: None, lost }) };
        let (listener, counted) = (denials.listen(), Arc::clone(&lost));
        let worker = Worker::spawn("tidegate-denials", move |stop| run(listener, bounds, &counted, stop))?;
        Ok(Self { _worker: Some(worker), lost })
    }

    /// Counts the denials that were dropped before the log could process them.
    pub fn lost(&self) -> &Arc<AtomicU64> {
        &self.lost
    }
}

fn run(mut listener: Listener, mut bounds: Bounds, lost: &AtomicU64, stop: &Stop) {
    loop {
        let ended = stop.wait(REST) == Wait::Stopped;
        let (denials, dropped) = listener.poll(usize::MAX);
        for denial in &denials {
            if let Some(left_out) = bounds.admit(denial) {
                write(denial, left_out);
            }
        }
        if dropped > 0 {
            lost.fetch_add(dropped, Ordering::Relaxed);
            tracing::warn!(target: TARGET, denials = dropped, "denials dropped: more at once than the log can process");
        }
        if ended {
            return;
        }
    }
}

fn write(denial: &Denial, left_out: u64) {
    let limit = &denial.governing;
    tracing::info!(
        target: TARGET,
        domain = sanitize(&denial.domain),
        rule = sanitize(&limit.rule),
        descriptors = descriptors(denial),
        hits = limit.hits,
        limit = limit.requests_per_unit,
        period = period(limit),
        reason = limit.reason.name(),
        retry_after_ms = limit.retry_after.as_millis_ceil(),
        also_denied = others(denial),
        shadow = denial.shadow,
        left_out,
        "denied"
    );
}

/// `partner=acme, endpoint=/x; tenant=t`: every entry of every descriptor.
fn descriptors(denial: &Denial) -> String {
    let mut shown = String::new();
    for descriptor in &denial.descriptors {
        let mut parted = if shown.is_empty() { "" } else { "; " };
        for (key, value) in &descriptor.entries {
            let _ = write!(shown, "{parted}{}={}", sanitize(key), sanitize(value));
            parted = ", ";
        }
    }
    if denial.entries_omitted > 0 {
        let _ = write!(shown, "; … {} more entries", denial.entries_omitted);
    }
    shown
}

/// `api.tenant 1000/1m over_limit 8815ms; ...`: the other limits that denied the check, without the governing one.
fn others(denial: &Denial) -> Option<String> {
    let other = |limit: &DeniedLimit| {
        let DeniedLimit { rule, requests_per_unit, reason, retry_after, .. } = limit;
        let (rule, reason, wait) = (sanitize(rule), reason.name(), retry_after.as_millis_ceil());
        let period = period(limit);
        format!("{rule} {requests_per_unit}/{period} {reason} {wait}ms")
    };
    let mut shown: Vec<_> = denial.others.iter().map(other).collect();
    shown.extend((denial.limits_omitted > 0).then(|| format!("… {} more limits", denial.limits_omitted)));
    (!shown.is_empty()).then(|| shown.join("; "))
}

/// `1m`, or `calendar month (Europe/Berlin)`.
fn period(limit: &DeniedLimit) -> String {
    limit.calendar.map_or_else(|| limit.period.to_string(), ToString::to_string)
}

/// Bounds on the number of lines.
#[derive(Debug)]
struct Bounds {
    /// Lines per second for one rule.
    for_rule: u32,
    rules: HashMap<String, Second, ahash::RandomState>,
    /// Shared by all rules beyond [`MAX_RULES`].
    other: Second,
    all: Second,
}

/// The lines of the current second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    begun: Timestamp,
    written: u32,
    /// Denials without a line since the last line, however long ago that was.
    left_out: u64,
}

impl Bounds {
    fn new(which: DenialLog) -> Option<Self> {
        let for_rule = match which {
            DenialLog::Off => return None,
            DenialLog::Sampled => 1,
            DenialLog::All => 100,
        };
        Some(Self { for_rule, rules: HashMap::default(), other: Second::default(), all: Second::default() })
    }

    /// `Some` if the denial gets a line, with the number of denials of its rule that were left out since the last line.
    fn admit(&mut self, denial: &Denial) -> Option<u64> {
        let rule = &denial.governing.rule;
        if !self.rules.contains_key(rule) && self.rules.len() < MAX_RULES {
            self.rules.insert(rule.clone(), Second::default());
        }
        let rule = self.rules.get_mut(rule).unwrap_or(&mut self.other);
        if rule.has_room(denial.at, self.for_rule) && self.all.has_room(denial.at, MAX_LINES) {
            rule.written += 1;
            self.all.written += 1;
            Some(std::mem::take(&mut rule.left_out))
        } else {
            rule.left_out += 1;
            None
        }
    }
}

impl Second {
    /// Whether another line may be written at `now`. A clock that goes back does not start a new second.
    fn has_room(&mut self, now: Timestamp, most: u32) -> bool {
        if self.begun == Timestamp::EPOCH || now.since(self.begun) >= Nanos::SECOND {
            self.begun = now;
            self.written = 0;
        }
        self.written < most
    }
}

/// The target of these lines, by which `--log-level` selects them.
const TARGET: &str = "tidegate::denials";
/// Between two polls. Shorter than the time for which denials are kept at the highest rate, a third of a second.
const REST: Duration = Duration::from_millis(100);
/// Rules with a bound of their own. Request overrides can produce as many names as there are values.
const MAX_RULES: usize = 10_000;
/// Lines per second for all rules together: what a disk and a log collector can take.
const MAX_LINES: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{DeniedDescriptor, denial_for_tests, limit_for_tests};

    fn denial(rule: &str, at_ms: u64) -> Denial {
        let at = Timestamp::from_ns(1_000_000_000_000 + at_ms * 1_000_000);
        Denial { at, ..denial_for_tests("d", rule, &[("k", "a\nb"), ("n", "")]) }
    }

    #[test]
    fn off_is_nothing_at_all() {
        assert!(Bounds::new(DenialLog::Off).is_none());
    }

    #[test]
    fn sampled_is_one_a_second_and_rule_with_the_count_of_the_others() {
        let mut bounds = Bounds::new(DenialLog::Sampled).unwrap();
        let script = [
            ("a", 0, Some(0)),
            ("a", 1, None),
            ("b", 2, Some(0)),
            ("a", 999, None),
            ("a", 1_000, Some(2)),
            ("a", 500, None), // The clock of another worker.
            ("b", 5_000, Some(0)),
            ("a", 9_000, Some(1)),
        ];
        for (rule, at_ms, expected) in script {
            assert_eq!(bounds.admit(&denial(rule, at_ms)), expected, "{rule} at {at_ms} ms");
        }
    }

    #[test]
    fn all_has_bounds_too() {
        let mut bounds = Bounds::new(DenialLog::All).unwrap();
        let written =
            |rule: &str, bounds: &mut Bounds| (0..500).filter(|_| bounds.admit(&denial(rule, 7)).is_some()).count();
        assert_eq!(written("a", &mut bounds), 100);
        let all: usize = (0..50).map(|rule| written(&rule.to_string(), &mut bounds)).sum();
        assert_eq!(all + 100, MAX_LINES as usize);
        assert_eq!(bounds.admit(&denial("a", 1_007)), Some(400));
    }

    #[test]
    fn rules_beyond_the_bound_share_one() {
        let mut bounds = Bounds::new(DenialLog::Sampled).unwrap();
        for rule in 0..MAX_RULES + 2 {
            bounds.admit(&denial(&rule.to_string(), (rule as u64) * 1_000));
        }
        assert_eq!(bounds.rules.len(), MAX_RULES);
        let late = (MAX_RULES as u64 + 9) * 1_000;
        assert_eq!(bounds.admit(&denial("x", late)), Some(0));
        assert_eq!(bounds.admit(&denial("y", late)), None);
    }

    #[test]
    fn entries_and_limits_are_safe_to_show() {
        let single = denial("a", 0);
        assert_eq!((descriptors(&single), others(&single)), (r"k=a\nb, n=".to_owned(), None));
        let mut several = single;
        let tenant = DeniedDescriptor { index: 2, entries: vec![("tenant".into(), "t".into())] };
        several.descriptors.push(tenant);
        several.others = ["b", "c\td"].map(limit_for_tests).to_vec();
        several.others[0].period = Nanos::from_secs(60);
        (several.entries_omitted, several.limits_omitted) = (9, 2);
        assert_eq!(descriptors(&several), r"k=a\nb, n=; tenant=t; … 9 more entries");
        let expected = r"b 1/1m over_limit 1000ms; c\td 1/1s over_limit 1000ms; … 2 more limits";
        assert_eq!(others(&several).as_deref(), Some(expected));
    }
}
