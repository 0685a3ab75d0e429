//! Metrics in Prometheus' text format.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::labels::{DOMAIN, sanitized};
use super::metric::Read;
use super::names::{self, METRICS, MetricKind};
use super::snapshot::seconds;
use super::{Snapshot, Times};

/// The snapshot in Prometheus' text format, each series with these labels too. Metrics without a series are left out.
///
/// Cost: a few hundred bytes per rule, on the thread that serves `/metrics`, never on one that decides.
pub fn render(snapshot: &Snapshot, constant: &[(String, String)]) -> String {
    render_with(snapshot, constant, &|_| true)
}

/// Only the series that name one of these domains, which are sorted: no sum over others, nor what the process as a whole does.
pub fn render_domains(snapshot: &Snapshot, constant: &[(String, String)], domains: &[String]) -> String {
    render_with(snapshot, constant, &|labels| {
        let named = labels.iter().find(|(name, _)| *name == DOMAIN);
        named.is_some_and(|(_, domain)| domains.iter().any(|known| sanitized(known) == *domain))
    })
}

fn render_with(snapshot: &Snapshot, constant: &[(String, String)], wanted: Wanted<'_>) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let mut family = family(snapshot, metric, wanted);
        if family.get_metric().is_empty() {
            continue;
        }
        for series in family.mut_metric().iter_mut().filter(|_| !constant.is_empty()) {
            let own = series.get_label().iter().cloned();
            series.set_label(own.chain(constant.iter().map(|(name, value)| pair(name, value))).collect());
        }
        if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
            tracing::error!(metric = metric.name, %error, "metric left out: it cannot be encoded");
        }
    }
    text
}

/// Whether a series with these labels is shown.
type Wanted<'s> = &'s dyn Fn(&[(&'static str, &str)]) -> bool;

fn family(snapshot: &Snapshot, metric: &names::Metric, wanted: Wanted<'_>) -> MetricFamily {
    let mut series = Vec::new();
    if let Read::Times(times) = metric.read {
        if wanted(&[]) {
            series.push(histogram(&[], times(snapshot)));
        }
    } else if let Read::TimesBy(name, times) = metric.read {
        for (value, times) in times(snapshot) {
            if wanted(&[(name, value)]) {
                series.push(histogram(&[(name, value)], times));
            }
        }
    } else {
        metric.visit(snapshot, &mut |labels, value| {
            if !wanted(labels) {
                return;
            }
            let mut shown = Metric::from_label(labels.iter().map(label).collect());
            if metric.kind == MetricKind::Counter {
                let mut counter = Counter::default();
                counter.set_value(value);
                shown.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                shown.set_gauge(gauge);
            }
            series.push(shown);
        });
    }
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge => MetricType::GAUGE,
        MetricKind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(series);
    family
}

fn histogram(labels: &[(&'static str, &str)], Times { at_most, count, sum }: &Times) -> Metric {
    let buckets = at_most.iter().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(*bound));
        bucket.set_cumulative_count(*count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(*count);
    histogram.set_sample_sum(seconds(*sum));
    let mut one = Metric::from_label(labels.iter().map(label).collect());
    one.set_histogram(histogram);
    one
}

fn label((name, value): &(&'static str, &str)) -> LabelPair {
    pair(name, value)
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigValues, RuleSeries, SweepValues};
    use super::*;
    use crate::units::Nanos;
    use crate::usage::{Measure, Totals};

    #[test]
    fn shows_names_types_labels_and_values() {
        let snapshot = Snapshot {
            rules: vec![
                RuleSeries {
                    domain: "api".into(),
                    rule: "api.partner_acme.endpoint".into(),
                    key1: "partner_acme".into(),
                    key2: "endpoint".into(),
                    totals: Totals::default().with(Measure::HitsWithinLimit, 7).with(Measure::HitsOverLimit, 2),
                },
                RuleSeries { domain: "a\"b\\c\nd".into(), ..RuleSeries::default() },
            ],
            errors: vec![("service", 3)],
            config: ConfigValues { generation: 4, successes: 4, failures: 1, last_failed: true },
            sweep: SweepValues { longest_pause: Nanos::from_ns(1_500_000), ..SweepValues::default() },
            ..Snapshot::default()
        };
        let text = render(&snapshot, &[]);
        let rule = r#"{domain="api",rule="api.partner_acme.endpoint",key1="partner_acme",key2="endpoint"}"#;
        for line in [
            "# HELP ratelimit_service_rate_limit_total_hits Hits of the checks that matched the rule.".to_owned(),
            "# TYPE ratelimit_service_rate_limit_total_hits counter".to_owned(),
            format!("ratelimit_service_rate_limit_total_hits{rule} 7"),
            format!("ratelimit_service_rate_limit_over_limit{rule} 2"),
            r#"ratelimit_service_rate_limit_total_hits{domain="a\"b\\c\nd"} 0"#.to_owned(),
            r#"ratelimit_service_should_rate_limit_error{err_type="service"} 3"#.to_owned(),
            "ratelimit_service_config_load_success 4".to_owned(),
            "tidegate_config_last_reload_success 0".to_owned(),
            "# TYPE tidegate_sweep_longest_pause_seconds gauge".to_owned(),
            "tidegate_sweep_longest_pause_seconds 0.0015".to_owned(),
            format!("tidegate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(text.lines().any(|shown| shown == line), "missing {line:?} in\n{text}");
        }
        assert!(!text.contains("domain_not_found"), "a metric without a series is left out");
    }
}
