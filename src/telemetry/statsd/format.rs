//! Statistics as lines: `NAME:VALUE|TYPE`, written by the crate `cadence`.

use cadence::ext::{MetricValue, ToTimerValue};
use cadence::prelude::*;
use cadence::{Metric, MetricBuilder, MetricResult, NopMetricSink, StatsdClient};

use super::super::Times;
use super::super::names::{METRICS, MetricKind, OWN};
use super::super::snapshot::Snapshot;
use super::super::stats::statistics;
use super::{MAX_COUNTERS, Sent};
use crate::settings::{StatsdFormat, StatsdRename};
use crate::units::Nanos;

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// With its end.
    pub(super) text: String,
    /// Of a counter its name and its total, once this line has been sent.
    pub(super) counter: Option<(String, u64)>,
}

/// Writes lines.
#[derive(Debug)]
pub(super) struct Formatter {
    /// Writes a line, and sends it nowhere.
    client: StatsdClient,
    format: StatsdFormat,
    /// Tags of every line, spelled for this format.
    tags: Vec<(String, String)>,
    renames: Vec<StatsdRename>,
}

impl Formatter {
    /// Tags without a name or value are left out, and the others are in the order of names, as there.
    pub(super) fn new(format: StatsdFormat, tags: &[(String, String)], renames: Vec<StatsdRename>) -> Self {
        let spelled = |(tag, value): &(String, String)| (spelled_tag(tag), spelled_value(value));
        let mut tags: Vec<_> = tags.iter().map(spelled).collect();
        tags.retain(|(tag, value)| !tag.is_empty() && !value.is_empty());
        tags.sort_unstable();
        Self { client: StatsdClient::from_sink("", NopMetricSink), format, tags, renames }
    }

    /// What has changed since what was sent, and all gauges.
    /// How many counters were left out, because there are [`MAX_COUNTERS`] others, is the second.
    pub(super) fn lines(&self, snapshot: &Snapshot, sent: &Sent) -> (Vec<Line>, usize) {
        let room = MAX_COUNTERS.saturating_sub(sent.len());
        let mut lines = Lines { formatter: self, sent, written: Vec::new(), room, left_out: 0 };
        for (name, total) in statistics(snapshot) {
            lines.counter(&name, &[], total);
        }
        lines.timer("ratelimit_server.ShouldRateLimit.response_time", &snapshot.decisions);
        // Those of the reference are among the statistics, and those of the process are also the receiver's own: statsd_exporter would not show any more.
        for metric in METRICS.iter().filter(|metric| metric.name.starts_with(OWN)) {
            metric.visit(snapshot, &mut |labels, value| {
                if self.format == StatsdFormat::Plain && !labels.is_empty() {
                    return;
                }
                match metric.kind {
                    MetricKind::Gauge => lines.gauge(metric.name, labels, value),
                    MetricKind::Counter => lines.counter(metric.name, labels, whole(value)),
                    MetricKind::Histogram => {}
                }
            });
        }
        (lines.written, lines.left_out)
    }

    /// The line of a metric with its name and tags.
    fn written<'f, T>(
        &'f self,
        name: &'f str,
        tags: &'f [(String, String)],
        metric: impl FnOnce(&'f StatsdClient, &'f str) -> MetricBuilder<'f, 'f, T>,
    ) -> Option<String>
    where
        T: Metric + From<String>,
    {
        let mut metric = metric(&self.client, name);
        for (tag, value) in tags {
            metric = metric.with_tag(tag, value);
        }
        let written = metric.try_send().ok()?;
        let text = written.as_metric_str();
        (text.len() < MAX_LINE_BYTES).then(|| format!("{text}\n"))
    }

    /// The name and the tags of a statistic.
    fn named(&self, name: &str, labels: &[(&'static str, &str)]) -> (String, Vec<(String, String)>) {
        let name = spelled_name(name);
        match self.format {
            StatsdFormat::Plain => {
                let tags = self.tags.iter().map(|(tag, value)| format!(".__{tag}={value}"));
                (name + &tags.collect::<String>(), Vec::new())
            }
            StatsdFormat::Dogstatsd => {
                let renamed = self.renames.iter().find_map(|rename| rename.of(&name));
                let (name, more) = renamed.unwrap_or((name, Vec::new()));
                let own = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
                let more = own.chain(more).map(|(tag, value)| (spelled_dog(&tag), spelled_dog(&value)));
                (name, self.tags.iter().cloned().chain(more).collect())
            }
        }
    }
}

/// The lines of one flush.
struct Lines<'f> {
    formatter: &'f Formatter,
    sent: &'f Sent,
    written: Vec<Line>,
    /// For counters that nothing has been sent of.
    room: usize,
    left_out: usize,
}

impl Lines<'_> {
    /// A counter is sent as what was added to it; nothing is sent if that is 0.
    fn counter(&mut self, name: &str, labels: &[(&'static str, &str)], total: u64) {
        let (name, tags) = self.formatter.named(name, labels);
        let key = tags.iter().fold(name.clone(), |key, (tag, value)| key + "\0" + tag + "\0" + value);
        let Some(added) = self.added(&key, total) else { return };
        let text = self.formatter.written(&name, &tags, |client, name| client.count_with_tags(name, added));
        self.written.extend(text.map(|text| Line { text, counter: Some((key, total)) }));
    }

    /// What was added to a counter since it was sent, if it is something, and there is room for the counter.
    fn added(&mut self, key: &str, total: u64) -> Option<u64> {
        let sent = self.sent.get(key).copied();
        let added = total.checked_sub(sent.unwrap_or_default()).filter(|added| *added > 0)?;
        if sent.is_none() {
            let Some(room) = self.room.checked_sub(1) else {
                self.left_out = self.left_out.saturating_add(1);
                return None;
            };
            self.room = room;
        }
        Some(added)
    }

    fn gauge(&mut self, name: &str, labels: &[(&'static str, &str)], value: f64) {
        let (name, tags) = self.formatter.named(name, labels);
        let text = self.formatter.written(&name, &tags, |client, name| client.gauge_with_tags(name, value));
        self.written.extend(text.map(|text| Line { text, counter: None }));
    }

    /// A line for each bucket with new durations, with its upper bound as their value and the share of one among them as the sampling rate.
    fn timer(&mut self, name: &str, times: &Times) {
        let (name, tags) = self.formatter.named(name, &[]);
        let longest = times.at_most.last().map_or(Nanos::ZERO, |(bound, _)| *bound);
        let beyond = (longest, times.count);
        let mut before = 0;
        for (bucket, (bound, at_most)) in times.at_most.iter().copied().chain([beyond]).enumerate() {
            let total = at_most.saturating_sub(before);
            before = at_most;
            let key = format!("{name}\0{bucket}");
            let Some(added) = self.added(&key, total) else { continue };
            let text = self.formatter.written(&name, &tags, |client, name| {
                let line = client.time_with_tags(name, Milliseconds(bound));
                if added == 1 { line } else { line.with_sampling_rate(rate(added)) }
            });
            self.written.extend(text.map(|text| Line { text, counter: Some((key, total)) }));
        }
    }
}

/// A duration that is written with what is less than a millisecond.
struct Milliseconds(Nanos);

impl ToTimerValue for Milliseconds {
    fn try_to_value(self) -> MetricResult<MetricValue> {
        Ok(MetricValue::Float(std::time::Duration::from(self.0).as_secs_f64() * 1e3))
    }
}

/// The sampling rate of one among so many, for receivers that round 1 / rate down.
#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(super) fn rate(among: u64) -> f64 {
    let among = among as f64;
    let rate = among.recip();
    if rate.recip() < among { rate.next_down() } else { rate }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are not negative")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Line ends would begin another statistic; `:` and `|` are replaced where the statistics are named.
fn spelled_name(name: &str) -> String {
    replaced(name, |c| c.is_control() || c == ':' || c == '|')
}

fn spelled_tag(tag: &str) -> String {
    replaced(tag, |c| c.is_control() || [':', '|', ',', '='].contains(&c))
}

/// As there, for both formats.
fn spelled_value(value: &str) -> String {
    replaced(value, |c| c.is_control() || ['.', ':', '|', ','].contains(&c))
}

fn spelled_dog(text: &str) -> String {
    replaced(text, |c| c.is_control() || ['|', ','].contains(&c))
}

fn replaced(text: &str, is_other: impl Fn(char) -> bool) -> String {
    text.chars().map(|c| if is_other(c) { '_' } else { c }).collect()
}

/// Longer ones are left out: no datagram and no receiver has room for them.
const MAX_LINE_BYTES: usize = 8 << 10;
