//! The effect of a configuration on a trace: sums per rule, and the busiest counters.

use std::collections::HashMap;
use std::io::{self, Write};

use super::unmatched::Unmatched;
use crate::limiter::{Check, Code, Decision, Descriptor, Status};
use crate::rules::{Charge, RuleLimit, RuleSet};
use crate::sanitize::sanitize;
use crate::usage::{Measure, RequestCounts, Usage};

/// Sums over a run. Those per rule come from the usage; those per counter are kept here.
#[derive(Debug, Default)]
pub(super) struct Summary {
    checks: u64,
    denied: u64,
    counters: HashMap<(String, String), Busy>,
    unmatched: Unmatched,
}

/// The sums of one counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Busy {
    hits: u64,
    checks: u64,
    denied: u64,
}

impl Summary {
    pub(super) fn add(&mut self, check: &Check<'_>, decision: &Decision<'_>, rules: Option<&RuleSet>) {
        self.checks += 1;
        self.denied += u64::from(decision.code == Code::OverLimit);
        self.unmatched.add(check, decision, rules.map(RuleSet::rules).unwrap_or_default());
        // Descriptors that an all-or-nothing denial left uncharged are in no counter, as in the sums per rule.
        let all_or_nothing = decision.domain.is_some_and(|domain| domain.charge == Charge::AllOrNothing);
        let rolled_back = all_or_nothing && decision.code == Code::OverLimit;
        for (descriptor, status) in check.descriptors.iter().zip(&decision.statuses) {
            if !(descriptor.refund || rolled_back && leaves_nothing(status)) {
                self.add_status(check.hits(descriptor), descriptor, status);
            }
        }
    }

    fn add_status(&mut self, hits: u64, descriptor: &Descriptor<'_>, status: &Status<'_>) {
        let (Some(rule), true) = (status.rule, status.limit.is_some()) else { return };
        let values: Vec<_> = descriptor.entries.iter().map(|entry| format!("{}={}", entry.key, entry.value)).collect();
        let key = (rule.path.clone(), values.join(","));
        if self.counters.len() < MAX_COUNTERS || self.counters.contains_key(&key) {
            let busy = self.counters.entry(key).or_default();
            busy.hits = busy.hits.saturating_add(hits);
            busy.checks += 1;
            busy.denied += u64::from(status.code == Code::OverLimit);
        }
    }

    pub(super) fn write(&self, out: &mut impl Write, usage: &Usage) -> io::Result<()> {
        writeln!(out, "checks {}, admitted {}, denied {}", self.checks, self.checks - self.denied, self.denied)?;
        let mut rules = vec![row(&["rule", "checks", "hits", "admitted", "denied", "queued", "banned"])];
        for series in usage.series_usage() {
            let totals = series.totals;
            if totals.requests() > 0 {
                let counts = [totals.requests(), totals.hits()];
                let rest = [
                    totals.get(Measure::RequestsAllowed),
                    totals.get(Measure::RequestsDenied),
                    totals.get(Measure::RequestsQueued),
                    totals.get(Measure::DeniedBanned),
                ];
                let numbers = counts.iter().chain(&rest).map(u64::to_string);
                rules.push(std::iter::once(series.labels.rule).chain(numbers).collect());
            }
        }
        writeln!(out)?;
        write_table(out, &rules)?;
        let unmatched = self.unmatched.rows();
        if !unmatched.is_empty() {
            writeln!(out, "\nmatched nothing, so not limited")?;
            write_table(out, &[&[row(&["domain", "checks", "descriptors", "because"])], &unmatched[..]].concat())?;
        }
        for values in usage.requests_by_entry().chunk_by(|a, b| a.name.key == b.name.key) {
            write_requests(out, values)?;
        }
        writeln!(out, "\nbusiest counters")?;
        write_table(out, &self.busiest())
    }

    fn busiest(&self) -> Vec<Vec<String>> {
        let mut busiest: Vec<_> = self.counters.iter().collect();
        busiest.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        let rows = busiest.into_iter().take(BUSIEST).map(|((rule, values), busy)| {
            vec![rule.clone(), values.clone(), busy.checks.to_string(), busy.hits.to_string(), busy.denied.to_string()]
        });
        std::iter::once(row(&["rule", "entries", "checks", "hits", "denied"])).chain(rows).collect()
    }
}

/// Whether a descriptor of a check that other descriptors denied was not charged.
fn leaves_nothing(status: &Status<'_>) -> bool {
    let keeps = |limit: &RuleLimit| limit.limit.keeps_denied();
    status.denied.is_none() && !status.rule.is_some_and(|rule| rule.limits.iter().any(keeps))
}

/// The requests by the values of one entry key, most first, and `(other)`, which cannot be mistaken for a value.
fn write_requests(out: &mut impl Write, values: &[RequestCounts]) -> io::Result<()> {
    let Some(key) = values.first().map(|first| &first.name.key) else { return Ok(()) };
    let mut busiest: Vec<_> = values.iter().filter(|value| !value.other).collect();
    busiest.sort_by_key(|value| std::cmp::Reverse(value.totals.requests()));
    busiest.truncate(BUSIEST);
    busiest.extend(values.iter().filter(|value| value.other));
    let cells = |value: &&RequestCounts| {
        let name = if value.other { "(other)".to_owned() } else { format!("{}={}", key.key, value.name.value) };
        let totals = value.totals;
        let numbers = [totals.requests(), totals.get(Measure::RequestsAllowed), totals.get(Measure::RequestsDenied)];
        std::iter::once(name).chain(numbers.map(|number| number.to_string())).collect()
    };
    let mut rows = vec![row(&["entry", "requests", "admitted", "denied"])];
    rows.extend(busiest.iter().map(cells));
    writeln!(out, "\nrequests by {} in {}", sanitize(&key.key), sanitize(&key.domain))?;
    write_table(out, &rows)
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// Writes rows with their columns aligned: numbers to the right, text to the left. Control characters are escaped.
fn write_table(out: &mut impl Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &[String], i: usize| row.get(i).map(|text| sanitize(text)).unwrap_or_default();
    let width = |i: usize| rows.iter().map(|row| cell(row, i).chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let is_text = |i: usize| rows.iter().skip(1).any(|row| cell(row, i).parse::<u64>().is_err());
    let text: Vec<_> = (0..columns).map(is_text).collect();
    for row in rows {
        let cells = widths.iter().zip(&text).enumerate().map(|(i, (width, text))| {
            let cell = cell(row, i);
            if *text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Counters that are tracked individually, 200 bytes each: the busiest ones appear among far fewer.
const MAX_COUNTERS: usize = 1_000_000;
/// Counters, and values of each entry key, that a summary shows.
const BUSIEST: usize = 10;
