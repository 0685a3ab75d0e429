//! PURE: which domains of a set come into force.
//!
//! A domain whose configurations load comes into force. One with errors keeps the rules that it had. A resource that cannot be
//! read, or names no domain, may be any of the domains that the set lacks, so these keep their rules too. All other domains that
//! the set lacks are removed.

use std::collections::{BTreeMap, BTreeSet};

use super::resources::Resource;
use crate::rules::{self, ConfigError, LoadOptions, OverlayFile, RuleSet, SourceFile};

/// The configurations that are in force: rules files, and the domain of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Accepted {
    /// The domain of each of `files`.
    pub(super) domains: Vec<String>,
    /// The rules files, in the order of their domains.
    pub(super) files: Vec<SourceFile>,
}

/// How files are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load<'o> {
    /// Options of the loader.
    pub(super) options: LoadOptions,
    /// What is laid over the rules.
    pub(super) overlay: Option<&'o OverlayFile>,
}

impl Load<'_> {
    fn files(self, files: &[SourceFile]) -> Result<RuleSet, Vec<ConfigError>> {
        rules::load_over(files, self.options, self.overlay)
    }
}

/// What comes of a set.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What is to be in force; `None`: nothing changes, because nothing of the set can be used.
    pub(super) next: Option<(Accepted, RuleSet)>,
    /// What is wrong, resource by resource.
    pub(super) errors: Vec<String>,
    /// Domains that keep their rules because of these errors.
    pub(super) outdated: Vec<String>,
    /// Domains with errors that have no rules to keep.
    pub(super) missing: Vec<String>,
}

impl Accepted {
    fn add(&mut self, domain: &str, files: impl IntoIterator<Item = SourceFile>) {
        for file in files {
            self.domains.push(domain.to_owned());
            self.files.push(file);
        }
    }

    /// The files of a domain.
    fn of<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a SourceFile> {
        self.domains.iter().zip(&self.files).filter(move |(name, _)| *name == domain).map(|(_, file)| file)
    }

    /// Loads all files.
    ///
    /// # Errors
    /// Every error of every file.
    pub(super) fn load(&self, load: Load<'_>) -> Result<RuleSet, Vec<ConfigError>> {
        load.files(&self.files)
    }
}

/// Decides what of the set comes into force, after what has been.
pub(super) fn accept(resources: &[Resource], before: &Accepted, load: Load<'_>) -> Outcome {
    let (known, mut errors) = by_domain(resources, load);
    let is_complete = errors.is_empty();
    let whole = known.iter().fold(Accepted::default(), |mut all, (domain, files)| {
        all.add(domain, files.iter().cloned());
        all
    });
    if is_complete && let Ok(rules) = whole.load(load) {
        return Outcome { next: Some((whole, rules)), errors, outdated: Vec::new(), missing: Vec::new() };
    }
    let mut good = BTreeMap::new();
    let (mut rejected, mut absent) = (BTreeSet::new(), BTreeSet::new());
    for (domain, files) in known {
        match load.files(&files) {
            Ok(_) => drop(good.insert(domain, files)),
            Err(found) => {
                errors.extend(found.iter().map(ToString::to_string));
                rejected.insert(domain);
            }
        }
    }
    if !is_complete {
        let lacking = before.domains.iter().map(String::as_str);
        absent.extend(lacking.filter(|domain| !good.contains_key(domain) && !rejected.contains(domain)));
    }
    let (mut outdated, mut missing) = (Vec::new(), Vec::new());
    for domain in rejected.into_iter().chain(absent) {
        let kept: Vec<_> = before.of(domain).cloned().collect();
        if kept.is_empty() {
            missing.push(domain.to_owned());
        } else {
            outdated.push(domain.to_owned());
            good.insert(domain, kept);
        }
    }
    let mut next = Accepted::default();
    for (domain, files) in good {
        next.add(domain, files);
    }
    let is_bad = next.files.is_empty() && before.files.is_empty();
    let next = next.load(load).map(|rules| (next, rules)).ok().filter(|_| !is_bad);
    Outcome { next, errors, outdated, missing }
}

/// The rules files of each domain, and what is wrong with resources whose domain is not known.
fn by_domain<'r>(resources: &'r [Resource], load: Load<'_>) -> (BTreeMap<&'r str, Vec<SourceFile>>, Vec<String>) {
    let (mut known, mut errors): (BTreeMap<&str, Vec<SourceFile>>, _) = (BTreeMap::new(), Vec::new());
    for Resource { name, domain, content } in resources {
        match content {
            Ok(text) => {
                let file = SourceFile { name: name.clone(), text: text.clone().into_bytes() };
                if domain.is_empty() {
                    let found = load.files(&[file]).err().unwrap_or_default();
                    errors.extend(found.iter().map(ToString::to_string));
                } else {
                    known.entry(domain).or_default().push(file);
                }
            }
            Err(why) => errors.push(format!("{name}: {why}")),
        }
    }
    (known, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resource of `DOMAIN=LIMIT`; `=` alone cannot be read, and a limit that is no number is an error.
    fn resources(text: &str) -> Vec<Resource> {
        let one = |word: &str| {
            let (domain, limit) = word.split_once('=').unwrap();
            let rules = format!(
                "domain: '{domain}'\ndescriptors: [{{key: k, rate_limit: {{unit: second, requests_per_unit: {limit}}}}}]"
            );
            let content = if word == "=" { Err("cannot be read".to_owned()) } else { Ok(rules) };
            Resource { name: format!("n-{domain}"), domain: domain.to_owned(), content }
        };
        text.split_whitespace().map(one).collect()
    }

    /// The limits in force after the sets, and what is outdated, missing, and how many errors there are.
    fn check(sets: &[&str]) -> (String, String, String, usize) {
        let mut in_force = Accepted::default();
        let (mut shown, mut last) = (String::from("nothing"), None);
        for set in sets {
            let Outcome { next, errors, outdated, missing } = accept(&resources(set), &in_force, Load::default());
            if let Some((next, rules)) = next {
                let limits = rules.rules().iter().map(|r| format!("{}={}", r.domain, r.limits[0].requests_per_unit));
                shown = limits.collect::<Vec<_>>().join(" ");
                in_force = next;
            }
            last = Some((outdated.join(" "), missing.join(" "), errors.len()));
        }
        let (outdated, missing, errors) = last.unwrap();
        (shown, outdated, missing, errors)
    }

    #[test]
    fn good_domains_come_into_force_and_bad_ones_keep_their_rules() {
        // The sets one after the other, and what is in force, outdated, missing and wrong after them.
        type Case = (&'static [&'static str], (&'static str, &'static str, &'static str, usize));
        let cases: [Case; 12] = [
            (&["a=1 b=2"], ("a=1 b=2", "", "", 0)),
            (&["a=1", "b=2"], ("b=2", "", "", 0)),
            (&["a=1", ""], ("", "", "", 0)),
            (&[""], ("", "", "", 0)),
            (&["a=1 b=2", "a=x b=3"], ("a=1 b=3", "a", "", 1)),
            (&["a=1 b=2", "a=x"], ("a=1", "a", "", 1)),
            // A first set without anything that can be used leaves the process without rules.
            (&["a=x"], ("nothing", "", "a", 1)),
            (&["="], ("nothing", "", "", 1)),
            (&["a=x b=2"], ("b=2", "", "a", 1)),
            // What cannot be read may be any domain that is missing.
            (&["a=1 b=2", "a=3 ="], ("a=3 b=2", "b", "", 1)),
            (&["a=1 b=2", "a=3 ="], ("a=3 b=2", "b", "", 1)),
            // One domain twice.
            (&["a=1", "a=2 a=3 b=4"], ("a=1 b=4", "a", "", 1)),
        ];
        for (sets, (limits, outdated, missing, errors)) in cases {
            let expected = (limits.to_owned(), outdated.to_owned(), missing.to_owned(), errors);
            assert_eq!(check(sets), expected, "{sets:?}");
        }
    }

    #[test]
    fn domains_are_merged_if_that_is_allowed() {
        let set = [
            Resource {
                name: "one".into(),
                domain: "d".into(),
                content: Ok("domain: d\ndescriptors: [{key: a}]".into()),
            },
            Resource {
                name: "two".into(),
                domain: "d".into(),
                content: Ok("domain: d\ndescriptors: [{key: b}]".into()),
            },
        ];
        let options = LoadOptions { merge_domains: true, ..LoadOptions::default() };
        let outcome = accept(&set, &Accepted::default(), Load { options, overlay: None });
        assert!(outcome.errors.is_empty() && outcome.next.is_some(), "{outcome:?}");
    }

    #[test]
    fn a_resource_without_a_domain_is_an_error_and_others_keep_their_rules() {
        let before = accept(&resources("a=1"), &Accepted::default(), Load::default()).next.unwrap().0;
        let outcome = accept(&resources("=1 b=2"), &before, Load::default());
        assert!(outcome.errors[0].contains("config file cannot have empty domain"), "{outcome:?}");
        assert_eq!(outcome.outdated, ["a"]);
        assert_eq!(outcome.next.unwrap().0.domains, ["a", "b"]);
    }
}
