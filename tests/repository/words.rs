//! The words that docs/GLOSSARY.md keeps out: their number may only go down.
//!
//! A word in a new place is a failed test; so is a number that is too high: lower it with the change that made it true.
//! CHANGELOG.md and docs/decisions name what was called otherwise, and the glossary itself lists them.

use std::collections::BTreeMap;

use crate::files::{self, File};

/// A word, and how often it still is in `src/`, in `tests/` and `benches/`, and in documents.
const KEPT_OUT: [(&str, [usize; 3]); 16] = [
    ("anew", [0, 0, 0]),
    ("beside", [0, 8, 0]),
    ("brings along", [0, 0, 0]),
    ("in general", [0, 0, 0]),
    ("lane", [0, 1, 0]),
    ("legible", [0, 0, 0]),
    ("patience", [0, 0, 0]),
    ("refusal", [0, 0, 0]),
    ("refuse", [0, 0, 0]),
    ("refused", [2, 6, 0]),
    ("somebody", [0, 1, 0]),
    ("speaks", [0, 2, 0]),
    ("stands", [0, 8, 0]),
    ("tell", [0, 8, 0]),
    ("told", [0, 6, 0]),
    ("whoever", [0, 3, 0]),
];

const AREAS: [&str; 3] = ["src", "tests and benches", "documents"];

#[test]
fn words_that_are_kept_out_only_go_away() {
    let found = count(&files::all());
    let mut wrong = Vec::new();
    for (word, allowed) in KEPT_OUT {
        for ((area, allowed), found) in AREAS.iter().zip(allowed).zip(found[word]) {
            if found > allowed {
                wrong.push(format!("`{word}` in {area}: {found} times, {allowed} are left over from before"));
            } else if found < allowed {
                wrong.push(format!("`{word}` in {area}: only {found} times now; lower the {allowed} in this test"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/GLOSSARY.md has the words to use:\n{}", wrong.join("\n"));
}

/// How often each word is in each area.
fn count(files: &[File]) -> BTreeMap<&'static str, [usize; 3]> {
    let mut found: BTreeMap<_, _> = KEPT_OUT.iter().map(|(word, _)| (*word, [0; 3])).collect();
    for file in files {
        let Some(area) = area(&file.path) else { continue };
        let text = file.text.to_lowercase();
        for (word, counts) in &mut found {
            counts[area] += occurrences(&text, word);
        }
    }
    found
}

fn area(path: &str) -> Option<usize> {
    let is_exempt = ["CHANGELOG.md", "docs/GLOSSARY.md", "tests/repository/words.rs"].contains(&path)
        || path.starts_with("docs/decisions/")
        || path.starts_with("docs/measurements/")
        || path.starts_with("proto/envoy/")
        || path.starts_with("fuzz/seeds/");
    match path.rsplit('.').next() {
        _ if is_exempt => None,
        Some("rs") if path.starts_with("src/") => Some(0),
        Some("rs") => Some(1),
        Some("md" | "yaml" | "proto" | "json") => Some(2),
        _ => None,
    }
}

/// As a word of its own, or as a part of a name in snake case.
fn occurrences(text: &str, word: &str) -> usize {
    let is_letter = |c: char| c.is_alphabetic();
    let alone = |at: usize| !text[..at].ends_with(is_letter) && !text[at + word.len()..].starts_with(is_letter);
    text.match_indices(word).filter(|(at, _)| alone(*at)).count()
}

#[test]
fn planted_words_are_counted() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let files = [
        file("src/a.rs", "/// Whoever was told.\nfn is_told() {} // retold, foretell"),
        file("docs/A.md", "Told in general"),
        file("CHANGELOG.md", "told"),
    ];
    let found = count(&files);
    assert_eq!((found["told"], found["whoever"], found["in general"]), ([2, 0, 1], [1, 0, 0], [0, 0, 1]));
}
