//! What is suggested for one limit, and what it is based on, in words.

use serde::Serialize;

use super::Peaks;
use super::search::SHARES;

/// The number of a limit for a share of denied requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Suggested {
    /// With less than this, more than the share would have been denied.
    pub least: u32,
    /// With this, at most the share would have been denied. The same as `least`, if that is known exactly.
    pub most: u32,
}

/// What the numbers of all limits are based on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Requests that could be denied.
    pub requests: u64,
    /// Of these, denied when they came, if that is known.
    pub denied: Option<u64>,
    /// The time from the first to the last request, in seconds.
    pub span_s: u64,
    /// The length of the limit's window, in seconds, rounded up.
    pub window_s: u64,
    /// Hits of counters that are not tracked individually, of which nothing is known but this sum.
    pub other_hits: u64,
    /// All hits.
    pub hits: u64,
}

/// What is suggested for one limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitReport {
    /// The limit as it is configured, in words; empty: there is none.
    pub now: String,
    /// The window of the peaks, in words: `1m`, or `minute of the history`.
    pub peak_window: String,
    /// The peaks of its counters.
    pub peaks: Peaks,
    /// For each of [`SHARES`]; `None`: no number is certain to deny no more.
    pub suggested: [Option<Suggested>; 3],
    /// What it is based on.
    pub basis: Basis,
    /// What else is to be known.
    pub notes: Vec<String>,
}

impl Suggested {
    /// A number that is known exactly.
    pub const fn exactly(number: u32) -> Self {
        Self { least: number, most: number }
    }

    fn words(self) -> String {
        let Self { least, most } = self;
        if least == most { most.to_string() } else { format!("between {least} and {most}") }
    }
}

impl Basis {
    /// Why little can be concluded; none: there is enough.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.requests < MANY_REQUESTS {
            warnings.push(format!(
                "only {} request{}: 0.1 % of them is less than one, so it is the same as 0 %",
                self.requests,
                if self.requests == 1 { "" } else { "s" }
            ));
        }
        if self.span_s < self.window_s.saturating_mul(MANY_WINDOWS) {
            warnings.push(format!("the time covers fewer than {MANY_WINDOWS} windows of the limit"));
        }
        if self.span_s < DAY_S {
            warnings.push("less than a day: other hours may have higher peaks".to_owned());
        }
        if let Some(denied) = self.denied.filter(|denied| *denied > 0) {
            warnings.push(format!(
                "{} of these requests were denied when they came: without that, clients may have sent more, or retried less",
                share(denied, self.requests)
            ));
        }
        if self.other_hits > 0 {
            warnings.push(format!(
                "{} of the hits are of counters that the server does not track individually (--usage-series): they are left out",
                share(self.other_hits, self.hits)
            ));
        }
        warnings
    }
}

impl LimitReport {
    /// The report in lines for comments.
    pub fn lines(&self) -> Vec<String> {
        let Self { now, peak_window, peaks, suggested, basis, notes } = self;
        let counters = format!("{} counter{}", peaks.counters, if peaks.counters == 1 { "" } else { "s" });
        let now = if now.is_empty() { String::new() } else { format!("; now {now}") };
        let mut lines = vec![format!("{} requests of {counters}{now}", basis.requests)];
        if basis.requests == 0 {
            return lines;
        }
        let entries: Vec<_> = peaks.busiest.iter().map(|(key, value)| format!("{key}={value}")).collect();
        lines.push(format!(
            "most hits of one counter in one {peak_window}: {} ({}); of 99 % of the counters {}, of 95 % {}, of half {}",
            peaks.highest,
            entries.join(" "),
            peaks.p99,
            peaks.p95,
            peaks.p50
        ));
        let shares: Vec<_> = SHARES
            .iter()
            .zip(suggested)
            .map(|(share, number)| {
                format!("{}: {}", share.text, number.map_or_else(|| "no number".to_owned(), Suggested::words))
            })
            .collect();
        lines.push(format!("denied at most {}", shares.join("; ")));
        lines.extend(notes.iter().cloned());
        lines.extend(basis.warnings().into_iter().map(|warning| format!("warning: {warning}")));
        lines
    }
}

/// A share in percent.
#[allow(clippy::cast_precision_loss, reason = "it is shown with two digits")]
fn share(part: u64, whole: u64) -> String {
    format!("{:.2} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// With fewer, one request is more than 0.1 %.
const MANY_REQUESTS: u64 = 1_000;
/// Fewer windows say little about the highest peak.
const MANY_WINDOWS: u64 = 10;
const DAY_S: u64 = 86_400;
