//! Any bytes as configuration: errors or rules, never a panic; and what loads answers searches.

use std::borrow::Cow;

use tidegate::rules::{Entry, LoadOptions, RuleSet, SourceFile, load};

/// Plays one input.
pub(crate) fn run(text: &[u8]) {
    // What follows a NUL is a second file, so that domains meet.
    let files: Vec<_> = text
        .splitn(2, |&byte| byte == 0)
        .zip(["a", "b"])
        .map(|(text, name)| SourceFile { name: name.to_owned(), text: text.to_vec() })
        .collect();
    for merge_domains in [false, true] {
        match load(&files, LoadOptions { merge_domains, ..LoadOptions::default() }) {
            Ok(rules) => search(&rules, &String::from_utf8_lossy(text)),
            Err(errors) => {
                assert!(!errors.is_empty());
                let lines = text.iter().filter(|&&byte| matches!(byte, b'\n' | b'\r')).count() + 1;
                let reported = |error: &&tidegate::rules::ConfigError| (1..=lines + 1).contains(&error.line);
                assert!(errors.iter().all(|error| reported(&error)), "{errors:?}");
            }
        }
    }
}

/// Searches with words of the text as entries, and with each rule's own words, which must lead somewhere sound.
fn search(rules: &RuleSet, text: &str) {
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || ",:{}[]'\"".contains(c)).take(64).collect();
    let entries: Vec<_> = words.windows(2).map(|pair| entry(pair[0], pair[1])).collect();
    for domain in rules.domains() {
        for depth in 0..=3 {
            for entries in entries.windows(depth.max(1)) {
                let entries = if depth == 0 { &[] } else { entries };
                if let Some(found) = domain.find(rules.rules(), entries) {
                    assert_eq!(found.rule.levels.len(), depth);
                    assert_eq!(found.rule.domain, domain.name);
                }
            }
        }
    }
    for (index, rule) in rules.rules().iter().enumerate() {
        assert_eq!(rule.index, index);
        let own: Vec<_> = rule.levels.iter().map(|level| entry(&level.key, &level.value)).collect();
        let found = rules.domain(&rule.domain).and_then(|domain| domain.find(rules.rules(), &own));
        // Only a level without a value can lose to a pattern that its empty value matches.
        if rule.levels.iter().all(|level| !level.value.is_empty()) {
            assert_eq!(found.map(|found| found.rule.index), Some(index));
        }
    }
}

fn entry<'a>(key: &'a str, value: &'a str) -> Entry<'a> {
    Entry { key: Cow::Borrowed(key), value: Cow::Borrowed(value) }
}
