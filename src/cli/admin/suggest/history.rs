//! Numbers from a history: from sums per minute, hour or day, which leave open when in it the requests came.

use std::collections::{BTreeMap, HashMap};

use super::of_trace::{PER_MINUTE, no_number};
use super::stored::Stored;
use super::used::{Asked, FoundRows, Used, UsedRow};
use super::{Failure, Resolution, Suggest, Suggestions};
use crate::api::usage::time;
use crate::cli::admin::time::instant;
use crate::engine::{Algorithm, Limit, Starts};
use crate::rules::{RuleLimit, RuleSet};
use crate::runtime::clock::Clock;
use crate::suggest::{Basis, CounterSums, LimitReport, Peaks, RuleText, Snippet, Sum, SumsOf, from_sums};
use crate::units::{Nanos, Timestamp};

/// What the history has of one rule, with rows of one length.
struct RuleSums {
    sums: SumsOf,
    resolution: Resolution,
    denied: u64,
    other_hits: u64,
    hits: u64,
    /// From the first row to the end of the last one, in seconds.
    span_s: u64,
}

/// The rules that the history knows, and how far its rows reach.
struct Known {
    rules: Vec<UsedRow>,
    kept: [Option<i64>; 3],
    in_memory: bool,
}

/// By rule and length of rows.
type All = HashMap<(String, Resolution), RuleSums>;

impl Suggest {
    /// Finds the numbers for what a server or a data directory has.
    pub(super) fn by_history(&self) -> Result<Suggestions, Failure> {
        let rules = self.rules()?;
        let (rules, warnings) = rules.map_or((None, Vec::new()), |(rules, warnings)| (Some(rules), warnings));
        if let Some(dir) = &self.data_dir {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.map_err(|error| Failure::NoAnswer(error.to_string()))?;
            let used = Used::Stored(Stored::open(dir)?);
            let of = format!("the history in {}", dir.display());
            return runtime.block_on(self.find(used, rules.as_ref(), warnings, of));
        }
        self.connection.run(async |session| {
            let used = Used::Server(Box::new(session));
            self.find(used, rules.as_ref(), warnings, "the history of the server".to_owned()).await
        })
    }

    async fn find(
        &self,
        mut used: Used<'_>,
        rules: Option<&RuleSet>,
        mut warnings: Vec<String>,
        of: String,
    ) -> Result<Suggestions, Failure> {
        let FoundRows { rows, kept, in_memory } = used.rows(&self.asked("", "", None)).await?;
        let known = Known { rules: rows, kept, in_memory };
        let is_known = |row: &&UsedRow| rules.is_none_or(|rules| rules.rules_named(&row.rule).next().is_some());
        let mut domains: Vec<_> = known.rules.iter().filter(is_known).map(|row| &*row.domain).collect();
        domains.dedup();
        let domain = self.domain(domains.into_iter())?;
        let of_domain = || known.rules.iter().filter(|row| row.domain == domain && self.takes(&row.rule));
        let mut all = All::new();
        for row in of_domain().filter(is_known) {
            for resolution in self.resolutions(rules, row, &known) {
                let sums = self.sums(&mut used, row, resolution, &known).await?;
                all.insert((row.rule.clone(), resolution), sums);
            }
        }
        let (mut snippet, reports) = match rules.and_then(|rules| Some((rules, rules.domain(&domain)?))) {
            Some((rules, found)) => self.snippet(rules, found, |rule, limit| {
                let limit_of_engine = limit.map_or(PER_MINUTE, |limit| limit.limit);
                let sums = all.get(&(rule.path.clone(), self.resolution(&limit_of_engine, &known)))?;
                Some(report(limit, sums))
            }),
            None => self.derived(&domain, &all, &mut warnings),
        };
        snippet.head = self.head(&of, &all, &known);
        if let Some(rules) = rules {
            let unknown = of_domain().filter(|row| rules.rules_named(&row.rule).next().is_none());
            let unknown: Vec<_> = unknown.map(|row| &*row.rule).take(MAX_SHOWN).collect();
            if !unknown.is_empty() {
                snippet.head.push(format!("not in these rules, but in the history: {}", unknown.join(", ")));
            }
        }
        Ok(Suggestions { snippet, reports, warnings })
    }

    fn asked(&self, domain: &str, rule: &str, by_counter: Option<Resolution>) -> Asked {
        let now = (Clock::start().now().as_ns() / Nanos::SECOND.as_ns()).cast_signed();
        let from_s = self.since.map(|since| now.saturating_sub(since.seconds));
        Asked { domain: domain.to_owned(), rule: rule.to_owned(), from_s, by_counter }
    }

    /// The lengths of rows that the limits of a rule need.
    fn resolutions(&self, rules: Option<&RuleSet>, row: &UsedRow, known: &Known) -> Vec<Resolution> {
        let named = rules.into_iter().flat_map(|rules| rules.rules_named(&row.rule));
        let limits: Vec<_> = named.flat_map(|rule| &rule.limits).map(|limit| limit.limit).collect();
        let limits = if limits.is_empty() { vec![PER_MINUTE] } else { limits };
        let mut needed: Vec<_> = limits.iter().map(|limit| self.resolution(limit, known)).collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The rows for a limit: the longest of which its windows are whole, which leave nothing open and reach back furthest; otherwise
    /// the shortest.
    fn resolution(&self, limit: &Limit, known: &Known) -> Resolution {
        let is_kept = |resolution: &Resolution| {
            Resolution::ALL.iter().zip(known.kept).any(|(kept, since)| kept == resolution && since.is_some())
        };
        let is_whole = |resolution: &Resolution| {
            limit.window.as_ns().is_multiple_of(Nanos::from_secs(resolution.seconds()).as_ns())
        };
        let is_aligned = limit.algorithm == Algorithm::FixedWindow { starts: Starts::Clock };
        let whole = Resolution::ALL.into_iter().rev().find(|resolution| is_kept(resolution) && is_whole(resolution));
        self.resolution.or(whole.filter(|_| is_aligned)).unwrap_or(Resolution::Minute)
    }

    async fn sums(
        &self,
        used: &mut Used<'_>,
        row: &UsedRow,
        resolution: Resolution,
        known: &Known,
    ) -> Result<RuleSums, Failure> {
        let since = Resolution::ALL.iter().zip(known.kept).find(|(kept, _)| **kept == resolution);
        let asked = self.asked(&row.domain, &row.rule, Some(resolution));
        // The row in which the history, or what was asked for, begins is one of them.
        let whole = |second: i64| second - second.rem_euclid(resolution.seconds().cast_signed());
        let from_s = asked.from_s.into_iter().chain(since.and_then(|(_, since)| since)).map(whole).max();
        let rows = used.rows(&Asked { from_s, ..asked.clone() }).await?.rows;
        let whole = used.rows(&Asked { from_s, by_counter: None, ..asked }).await?.rows;
        let whole = whole.into_iter().next().unwrap_or_default();
        Ok(RuleSums::new(rows, &whole, resolution))
    }

    /// The file of a domain without its rules: levels from the paths of rules and the entries of their counters.
    fn derived(
        &self,
        domain: &str,
        all: &All,
        warnings: &mut Vec<String>,
    ) -> (Snippet, Vec<(String, usize, LimitReport)>) {
        let (mut snippet, mut reports) = (Snippet::new(domain), Vec::new());
        let sorted: BTreeMap<_, _> = all.iter().map(|((path, resolution), sums)| ((path, *resolution), sums)).collect();
        for ((path, _), sums) in sorted {
            let levels = sums.sums.counters.iter().find_map(|counter| levels(domain, path, &counter.entries));
            let Some(levels) = levels else {
                warnings.push(format!("{path} is left out: its levels are not known without the rules (PATH)"));
                continue;
            };
            let report = report_of(&PER_MINUTE, sums);
            let number = self.chosen(report.suggested);
            let limit = number.map(|number| format!("{{unit: minute, requests_per_unit: {number}}}"));
            let limits = limit.into_iter().collect();
            snippet.add(&levels, RuleText { comments: report.lines(), keys: Vec::new(), limits });
            reports.push((path.clone(), 1, report));
        }
        (snippet, reports)
    }

    fn head(&self, of: &str, all: &All, known: &Known) -> Vec<String> {
        let mut head = vec![format!("tidegate suggest, from {of}:")];
        let mut used: Vec<_> = all.keys().map(|(_, resolution)| *resolution).collect();
        used.sort_unstable();
        used.dedup();
        for resolution in used {
            let since = Resolution::ALL.iter().zip(known.kept).find(|(kept, _)| **kept == resolution);
            let since = since.and_then(|(_, since)| u64::try_from(since?).ok()).unwrap_or(0);
            let since = instant(&time(Timestamp::EPOCH.plus(Nanos::from_secs(since))));
            head.push(format!("rows of a {}, which are kept since {since}", resolution.word()));
        }
        head.push(format!(
            "each limit would certainly have denied at most {} of its requests; \"between A and B\": with less than A it would",
            self.share()
        ));
        head.push(
            "certainly have denied more, and rows do not say what lies in between (a trace does: --trace)".to_owned(),
        );
        if known.in_memory {
            head.push(
                "warning: the history is only in memory and of one hour: run the server with --data-dir".to_owned(),
            );
        }
        head
    }
}

impl RuleSums {
    fn new(rows: Vec<UsedRow>, whole: &UsedRow, resolution: Resolution) -> Self {
        let seconds = resolution.seconds();
        let (mut counters, mut other_hits) = (BTreeMap::<Vec<(String, String)>, Vec<Sum>>::new(), 0_u64);
        let (mut first, mut end) = (u64::MAX, 0);
        for row in rows {
            (first, end) = (first.min(row.begins_s), end.max(row.begins_s.saturating_add(seconds)));
            if row.other {
                other_hits = other_hits.saturating_add(row.hits);
                continue;
            }
            let sum = Sum { bucket: row.begins_s / seconds, requests: row.requests, hits: row.hits };
            counters.entry(row.entries).or_default().push(sum);
        }
        let counters = counters.into_iter().map(|(entries, sums)| CounterSums { entries, sums }).collect();
        let bucket_ns = Nanos::from_secs(seconds).as_ns();
        let sums = SumsOf { bucket_ns, counters, refunds: whole.refunded > 0 };
        let span_s = end.saturating_sub(first.min(end));
        Self { sums, resolution, denied: whole.denied, other_hits, hits: whole.hits, span_s }
    }
}

/// What is suggested for a rule's limit; for an unlimited rule, what a limit per minute would be.
fn report(limit: Option<&RuleLimit>, sums: &RuleSums) -> LimitReport {
    let mut report = report_of(&limit.map_or(PER_MINUTE, |limit| limit.limit), sums);
    report.now = limit.map(RuleLimit::words).unwrap_or_default();
    if limit.is_none() {
        report.notes.push("the rule is unlimited: the numbers are those of a limit per minute".to_owned());
    }
    report
}

fn report_of(limit: &Limit, of: &RuleSums) -> LimitReport {
    let suggested = from_sums(limit, &of.sums);
    let mut notes = Vec::new();
    if suggested.iter().any(Option::is_none) {
        notes.push(no_number(limit).to_owned());
    }
    if suggested.iter().flatten().any(|suggested| suggested.least < suggested.most) {
        notes.push(format!(
            "the history has sums of a {}: it does not say when in it the requests came",
            of.resolution.word()
        ));
    }
    if limit.ban.is_some() {
        notes.push(
            "with a ban, nothing is certain but that nobody is denied: 0.1 % and 1 % say no more than 0 %".to_owned(),
        );
    }
    let per_window = (limit.window.as_ns() / of.sums.bucket_ns.max(1)).max(1);
    let is_whole = limit.calendar().is_none() && limit.window.as_ns().is_multiple_of(of.sums.bucket_ns.max(1));
    let buckets = if is_whole { per_window } else { 1 };
    let peak = |counter: &CounterSums| {
        let windows = counter.sums.chunk_by(|one, other| one.bucket / buckets == other.bucket / buckets);
        windows.map(|sums| sums.iter().map(|sum| sum.hits).sum()).max().unwrap_or(0)
    };
    let peaks = of.sums.counters.iter().map(|counter| (peak(counter), counter.entries.as_slice()));
    let basis = Basis {
        requests: of.sums.requests(),
        denied: Some(of.denied),
        span_s: of.span_s,
        window_s: limit.window.as_secs_ceil(),
        other_hits: of.other_hits,
        hits: of.hits,
    };
    let peak_window = Nanos::from_ns(of.sums.bucket_ns.saturating_mul(buckets)).to_string();
    LimitReport { now: String::new(), peak_window, peaks: Peaks::new(peaks), suggested, basis, notes }
}

/// The levels of a rule by its path, `DOMAIN.KEY` or `DOMAIN.KEY_VALUE` and so on, and the entries of one of its counters.
fn levels(domain: &str, path: &str, entries: &[(String, String)]) -> Option<Vec<(String, String)>> {
    fn rest(path: &str, entries: &[(String, String)], levels: &mut Vec<(String, String)>) -> bool {
        let Some(((key, value), left)) = entries.split_first() else { return path.is_empty() };
        let fixed = (format!(".{key}_{value}"), value.clone());
        let any = (format!(".{key}"), String::new());
        for (text, value) in [fixed, any] {
            levels.push((key.clone(), value));
            let after = path.strip_prefix(&text).filter(|after| after.is_empty() || after.starts_with('.'));
            if after.is_some_and(|after| rest(after, left, levels)) {
                return true;
            }
            levels.pop();
        }
        false
    }
    let mut levels = Vec::new();
    (!entries.is_empty() && rest(path.strip_prefix(domain)?, entries, &mut levels)).then_some(levels)
}

/// Rules that a comment names.
const MAX_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_path_and_entries() {
        type Pairs<'p> = &'p [(&'p str, &'p str)];
        let cases: [(&str, Pairs<'_>, Option<Pairs<'_>>); 8] = [
            ("api.user", &[("user", "ann")], Some(&[("user", "")])),
            ("api.user_ann", &[("user", "ann")], Some(&[("user", "ann")])),
            (
                "api.partner_acme.path",
                &[("partner", "acme"), ("path", "/x")],
                Some(&[("partner", "acme"), ("path", "")]),
            ),
            ("api.a.b_c.d", &[("a", "x"), ("b", "c.d")], Some(&[("a", ""), ("b", "c.d")])),
            ("api.a_", &[("a", "")], Some(&[("a", "")])),
            ("api.user", &[("other", "ann")], None),
            ("api.user", &[], None),
            ("api.user.more", &[("user", "ann")], None),
        ];
        for (path, entries, expected) in cases {
            let owned = |pairs: &[(&str, &str)]| {
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
            };
            assert_eq!(levels("api", path, &owned(entries)), expected.map(owned), "{path} {entries:?}");
        }
    }
}
