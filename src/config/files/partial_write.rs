//! PURE: detects files that may be partially written.
//!
//! A program that pauses while it writes into a file leaves a part of it on disk. Often that part is a valid configuration
//! with fewer or other limits: `requests_per_unit: 10` while `1000000` is being written. It cannot be distinguished from an
//! intended change, so it is loaded only once it has been stable for [longer](super::Pace::deferral). When a whole file
//! replaces another (a rename, a swapped link, a ConfigMap), it is never partial, and is loaded without this delay.

use std::collections::{HashMap, HashSet};

use super::listing::FileId;
use super::{ContentHash, Files};
use crate::rules::RuleSet;

/// The properties of the configuration in force that are compared with those of the next one.
#[derive(Debug)]
pub(crate) struct InForce {
    files: HashMap<String, Mark>,
    /// The number of rules of each domain.
    rules: HashMap<String, usize>,
}

/// A file as it was loaded.
#[derive(Debug)]
struct Mark {
    id: FileId,
    hash: ContentHash,
    bytes: usize,
    ends_a_line: bool,
}

impl InForce {
    /// Records a configuration that is about to be in force. Cost: that of [`Files::hash`].
    pub(crate) fn new(files: &Files, rules: &RuleSet) -> Self {
        let marks = Mark::all(files).map(|(name, mark)| (name.to_owned(), mark));
        Self { files: marks.collect(), rules: rules_by_domain(rules) }
    }

    /// Why one of these files may be partially written; `None` if they look complete.
    pub(crate) fn suspicion(&self, files: &Files, rules: &RuleSet) -> Option<String> {
        let (mut written_into, mut added, mut stayed) = (None, None, 0_usize);
        for (name, now) in Mark::all(files) {
            let Some(before) = self.files.get(name) else {
                if !now.ends_a_line {
                    return Some(format!("{name} is new and ends in the middle of a line"));
                }
                added = Some(name);
                continue;
            };
            let is_same_file = before.id == now.id;
            stayed += usize::from(is_same_file);
            if before.hash == now.hash {
                continue;
            }
            if is_same_file && now.bytes < before.bytes {
                return Some(format!("{name} shrank from {} to {} bytes", before.bytes, now.bytes));
            }
            if (is_same_file || before.ends_a_line) && !now.ends_a_line {
                return Some(format!("{name} ends in the middle of a line"));
            }
            if is_same_file {
                written_into = Some(name);
            }
        }
        if let Some(lacking) = rules.warnings().iter().find(|warning| {
            let file = Some(&*warning.file);
            (file == written_into || file == added) && warning.message.starts_with("'requests_per_unit' is missing")
        }) {
            return Some(format!("{} has a limit without 'requests_per_unit' at line {}", lacking.file, lacking.line));
        }
        let names: HashSet<&str> = files.files.iter().map(|file| &*file.name).collect();
        // If no file is the same one, the whole directory was replaced.
        let gone = self.files.keys().find(|name| !names.contains(&***name)).filter(|_| stayed > 0);
        let name = written_into.or(gone.map(String::as_str))?;
        self.lost(rules).map(|lost| format!("{lost} in the change of {name}"))
    }

    fn lost(&self, rules: &RuleSet) -> Option<String> {
        let now = rules_by_domain(rules);
        self.rules.iter().find_map(|(domain, before)| match now.get(domain) {
            None => Some(format!("domain '{domain}' is removed")),
            Some(now) if now < before => Some(format!("domain '{domain}' shrank from {before} rules to {now}")),
            Some(_) => None,
        })
    }
}

impl Mark {
    /// The name and the properties of each file.
    fn all(files: &Files) -> impl Iterator<Item = (&str, Self)> {
        let found = files.files.iter().zip(&files.ids).zip(files.hashes());
        found.map(|((file, &id), &hash)| {
            let (bytes, ends_a_line) = (file.text.len(), file.text.ends_with(b"\n"));
            (&*file.name, Self { id, hash, bytes, ends_a_line })
        })
    }
}

fn rules_by_domain(rules: &RuleSet) -> HashMap<String, usize> {
    let mut counts: HashMap<String, usize> = rules.domains().map(|domain| (domain.name.clone(), 0)).collect();
    for rule in rules.rules() {
        if let Some(count) = counts.get_mut(&rule.domain) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{LoadOptions, SourceFile, load};

    /// Files as `name inode text`, one in each element.
    fn files(all: &[(&str, i128, &str)]) -> (Files, RuleSet) {
        let mut files = Files::default();
        for (name, inode, text) in all {
            files.files.push(SourceFile { name: (*name).to_owned(), text: text.as_bytes().to_vec() });
            files.ids.push(FileId([0, *inode]));
        }
        let rules = load(&files.files, LoadOptions::default()).unwrap();
        (files, rules)
    }

    #[test]
    fn suspicions() {
        const TWO: &str = "domain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}\n- {key: l, rate_limit: {unit: day, requests_per_unit: 1}}\n";
        const ONE: &str = "domain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}\n";
        const LONG: &str = "# a comment that makes it longer than it was, although a rule is gone\ndomain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}\n";
        const OTHER: &str = "domain: b\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}\n";
        let cut = ONE.trim_end();
        let wide = "# longer\ndomain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 1}}";
        let whole = "domain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 7}}\n";
        let lacking = "domain: a\ndescriptors:\n- {key: k, rate_limit: {unit: day, requests_per_unit: 7}}\n- {key: l, rate_limit: {unit: day}}\n";
        for (before, after, expected) in [
            (&[("a", 1, TWO)][..], &[("a", 1, ONE)][..], Some("a shrank from 139 to 81 bytes")),
            (&[("a", 1, TWO)], &[("a", 2, ONE)], None),
            (&[("a", 1, ONE)], &[("a", 1, TWO)], None),
            (&[("a", 1, ONE)], &[("a", 1, ONE)], None),
            (&[("a", 1, ONE)], &[("a", 2, cut)], Some("a ends in the middle of a line")),
            (&[("a", 1, cut)], &[("a", 2, cut)], None),
            // Written into, however it ended before; or new.
            (&[("a", 1, cut)], &[("a", 1, wide)], Some("a ends in the middle of a line")),
            (
                &[("a", 1, whole)],
                &[("a", 1, whole), ("b", 2, "domain: b")],
                Some("b is new and ends in the middle of a line"),
            ),
            (&[("a", 1, whole)], &[("a", 1, lacking)], Some("a has a limit without 'requests_per_unit' at line 4")),
            (&[("a", 1, whole)], &[("a", 2, lacking)], None),
            (&[("a", 1, TWO)], &[("a", 1, LONG)], Some("domain 'a' shrank from 2 rules to 1 in the change of a")),
            (&[("a", 1, TWO)], &[("a", 2, LONG)], None),
            (&[("a", 1, ONE), ("b", 2, OTHER)], &[("a", 1, ONE)], Some("domain 'b' is removed in the change of b")),
            (&[("a", 1, ONE), ("b", 2, OTHER)], &[("a", 3, ONE)], None),
            (&[("a", 1, ONE), ("b", 2, OTHER)], &[("a", 1, ONE), ("c", 2, OTHER)], None),
        ] {
            let (first, rules) = files(before);
            let (second, next) = files(after);
            let suspicion = InForce::new(&first, &rules).suspicion(&second, &next);
            assert_eq!(suspicion.as_deref(), expected, "{before:?} -> {after:?}");
        }
    }
}
