//! `tidegate check`: every error of a configuration, or what it says.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;

use crate::config::{LoadError, Source};
use crate::engine::{Algorithm, Ban, BanWhen, Limit, Queue, QueueMode, Starts};
use crate::rules::{self, LoadOptions, Rule, RuleLimit, RuleSet};

/// Reads a configuration as the server would, and tells every error, or what was loaded.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// A rules file, or a directory: every *.yaml and *.yml below it
    path: PathBuf,
    /// Several files may extend one domain
    #[arg(long, env = "TIDEGATE_MERGE_DOMAINS", value_parser = BoolishValueParser::new())]
    merge_domains: bool,
    /// Say nothing when the configuration is good
    #[arg(long, short, env = "TIDEGATE_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
}

/// Checks and tells; the exit code is 1 when anything is wrong.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let ok = check(args, &mut io::stdout().lock(), &mut io::stderr().lock());
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the configuration is good. A reader that went away (`| head`) changes nothing about that.
fn check(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write) -> bool {
    match load(args) {
        Ok((files, rules)) => {
            if !args.quiet {
                let _ = tell(&rules, files, out);
            }
            true
        }
        Err(error) => {
            let _ = complain(&error, err);
            false
        }
    }
}

fn load(args: &CheckArgs) -> Result<(usize, RuleSet), LoadError> {
    let source = Source::open(&args.path, LoadOptions { merge_domains: args.merge_domains });
    let files = source.read().map_err(LoadError::Read)?;
    let rules = rules::load(&files.files, source.options()).map_err(LoadError::Rules)?;
    Ok((files.files.len(), rules))
}

fn complain(error: &LoadError, err: &mut dyn Write) -> io::Result<()> {
    for line in error.lines() {
        writeln!(err, "{line}")?;
    }
    writeln!(err, "not ok: {}", counted(error.lines().count(), "error"))
}

fn tell(rules: &RuleSet, files: usize, out: &mut dyn Write) -> io::Result<()> {
    let files = counted(files, "file");
    let domains = counted(rules.domains().count(), "domain");
    writeln!(out, "ok: {files}, {domains}, {}", counted(rules.rules().len(), "rule"))?;
    rules.warnings().iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
    rules.rules().iter().try_for_each(|rule| writeln!(out, "  {}: {}", rule.path, described(rule)))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The rule in words: `10 per minute, shadow_mode`.
fn described(rule: &Rule) -> String {
    let limits: Vec<_> = rule.limits.iter().map(limit).collect();
    let mut words = vec![if rule.unlimited { "unlimited".to_owned() } else { limits.join(" and ") }];
    if !rule.replaces.is_empty() {
        words.push(format!("replaces {:?}", rule.replaces));
    }
    let flags = [("shadow_mode", rule.shadow_mode), ("quota_mode", rule.quota_mode)];
    words.extend(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| (*flag).to_owned()));
    words.join(", ")
}

fn limit(limit: &RuleLimit) -> String {
    let period = &limit.period;
    let length = match period.unit {
        Some(unit) if period.multiplier == 1 => unit.name().to_ascii_lowercase(),
        _ => period.length.to_string(),
    };
    let mut words = vec![format!("{} per {length}", limit.requests_per_unit)];
    words.extend(algorithm(&limit.limit));
    words.extend(limit.limit.ban.map(ban));
    if !limit.name.is_empty() {
        words.push(format!("name {:?}", limit.name));
    }
    if !limit.enabled {
        words.push("disabled".to_owned());
    }
    words.join(", ")
}

/// How hits are counted, unless it is the default.
fn algorithm(limit: &Limit) -> Option<String> {
    match limit.algorithm {
        Algorithm::FixedWindow { starts: Starts::Clock } => None,
        Algorithm::FixedWindow { starts: Starts::FirstRequest } => Some("from the first request".to_owned()),
        Algorithm::SlidingWindow => Some("sliding_window".to_owned()),
        Algorithm::SlidingLog => Some("sliding_log".to_owned()),
        Algorithm::TokenBucket { burst, queue: Queue { size: 0, .. } } => Some(format!("token_bucket, burst {burst}")),
        Algorithm::TokenBucket { burst, queue: Queue { size, mode } } => {
            let mode = match mode {
                QueueMode::Hold | QueueMode::HoldAtMost(_) => "hold",
                QueueMode::Advise => "advise",
            };
            Some(format!("token_bucket, burst {burst}, queue {size} ({mode})"))
        }
    }
}

fn ban(ban: Ban) -> String {
    let when = match ban.when {
        BanWhen::Reached => "reached",
        BanWhen::Exceeded => "exceeded",
    };
    format!("ban {} when {when}", ban.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Period, Unit};
    use crate::units::Nanos;

    /// What `check` says about a directory of files: whether it is good, and both outputs.
    fn said(files: &[(&str, &str)], quiet: bool) -> (bool, String, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let args = CheckArgs { path: dir.path().to_owned(), merge_domains: false, quiet };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ok = check(&args, &mut out, &mut err);
        let shown = |text| String::from_utf8(text).unwrap().replace(dir.path().to_str().unwrap(), "R");
        (ok, shown(out), shown(err))
    }

    #[test]
    fn a_good_configuration_is_told_unless_quiet() {
        let files = [("a.yaml", "domain: a"), ("b.yaml", "domain: b")];
        let (ok, out, err) = said(&files, false);
        assert!(ok && out.starts_with("ok: 2 files, ") && err.is_empty(), "{out}{err}");
        assert_eq!(said(&files, true), (true, String::new(), String::new()));
    }

    #[test]
    fn a_bad_path_is_told_with_a_count() {
        let (ok, out, err) = said(&[], false);
        assert!(!ok && out.is_empty());
        assert!(err.starts_with("R: holds no *.yaml or *.yml file") && err.ends_with("\nnot ok: 1 error\n"), "{err}");
    }

    #[test]
    fn every_error_has_a_line() {
        let error =
            |line| rules::ConfigError { file: "a.yaml".into(), line, message: "descriptor has empty key".into() };
        let mut err = Vec::new();
        complain(&LoadError::Rules(vec![error(3), error(9)]), &mut err).unwrap();
        let expected = "a.yaml:3: descriptor has empty key\na.yaml:9: descriptor has empty key\nnot ok: 2 errors\n";
        assert_eq!(String::from_utf8(err).unwrap(), expected);
    }

    #[test]
    fn limits_are_told_in_words() {
        let clock = Algorithm::FixedWindow { starts: Starts::Clock };
        let first = Algorithm::FixedWindow { starts: Starts::FirstRequest };
        let bucket = |queue| Algorithm::TokenBucket { burst: 5, queue: Queue { size: queue, mode: QueueMode::Hold } };
        let banned = Ban { length: Nanos::SECOND, when: BanWhen::Reached };
        let cases = [
            (60, Some(Unit::Minute), 1, clock, None, "10 per minute"),
            (30, Some(Unit::Second), 30, clock, None, "10 per 30s"),
            (
                1,
                Some(Unit::Second),
                1,
                first,
                Some(banned),
                "10 per second, from the first request, ban 1s when reached",
            ),
            (1, Some(Unit::Second), 1, bucket(0), None, "10 per second, token_bucket, burst 5"),
            (1, Some(Unit::Second), 1, bucket(9), None, "10 per second, token_bucket, burst 5, queue 9 (hold)"),
            (90, Some(Unit::Second), 90, Algorithm::SlidingLog, None, "10 per 1m 30s, sliding_log"),
        ];
        for (seconds, unit, multiplier, algorithm, ban, expected) in cases {
            let length = Nanos::from_secs(seconds);
            let told = limit(&RuleLimit {
                name: String::new(),
                enabled: true,
                requests_per_unit: 10,
                period: Period { length, unit, multiplier },
                limit: Limit { max: 10, window: length, algorithm, ban, count_denied: true },
            });
            assert_eq!(told, expected);
        }
    }
}
