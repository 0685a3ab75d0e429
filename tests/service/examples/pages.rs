//! The examples of docs/RULES.md and docs/ALGORITHMS.md load, or are rejected in the words that the page shows.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::run::{Run, read};

/// The keys that a file may have: each has its section, with an example.
const KEYS: &str = "domain descriptors key value rate_limit rate_limits unit period requests_per_unit unlimited name replaces \
    shadow_mode quota_mode detailed_metric value_to_metric share_threshold metadata algorithm starts burst queue ban \
    count_denied enabled charge usage response headers reset body content_type template sharing";

/// A fenced block: what stands behind the fence, the line it begins in, its text.
struct Block<'p> {
    kind: &'p str,
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(page.lines()) {
        if let Some(kind) = text.strip_prefix("```") {
            inside = !inside;
            if inside {
                found.push(Block { kind, line, text: String::new() });
            }
        } else if let Some(block) = found.last_mut().filter(|_| inside) {
            block.text += text;
            block.text += "\n";
        }
    }
    found
}

#[test]
fn every_example_loads_or_is_rejected_in_the_words_shown() {
    for name in ["docs/RULES.md", "docs/ALGORITHMS.md"] {
        let page = read(name);
        let blocks = blocks(&page);
        for (i, block) in blocks.iter().enumerate() {
            let shown = match block.kind {
                "yaml" => "",
                "yaml error" => {
                    let next = blocks.get(i + 1).filter(|next| next.kind == "text");
                    &next.unwrap_or_else(|| panic!("{name}:{}: no text follows", block.line)).text
                }
                // What Envoy is told is tried in tests/envoy.
                "text" | "yaml envoy" => continue,
                other => panic!("{name}:{}: a block of {other:?}", block.line),
            };
            assert_eq!(check(&block.text), shown, "{name}:{}", block.line);
        }
    }
}

/// What `tidegate check` says of a file that is no good; nothing of a good one.
fn check(rules: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("rules.yaml"), rules).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let run = command.args(["check", "--quiet", "rules.yaml"]).current_dir(directory.path()).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.success(), said.is_empty(), "{rules}\n{said}");
    said
}

#[test]
fn every_key_has_a_section_with_an_example() {
    let page = read("docs/RULES.md");
    for key in KEYS.split_whitespace() {
        let heading = format!("# `{key}`\n");
        let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("no section {heading:?}"));
        let section = section.split("\n#").next().unwrap();
        let names_it = |block: &Block<'_>| block.kind == "yaml" && block.text.contains(&format!("{key}:"));
        assert!(blocks(section).iter().any(names_it), "the section of {key} has no example of it");
    }
}

#[test]
fn the_table_of_matches_is_what_the_example_does() {
    let page = read("docs/RULES.md");
    let (_, section) = page.split_once("## Which rule matches\n").unwrap();
    let run = Run::new(&blocks(section)[0].text);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `(")?.split_once(")` | "));
    let rows: Vec<_> = rows.map(|(entries, rest)| (entries, rest.split(" |").next().unwrap())).collect();
    assert_eq!(rows.len(), 11);
    for (entries, rule) in rows {
        let entries: Vec<_> = entries.split(") (").map(|entry| entry.split_once(", ").unwrap()).collect();
        let answer = run.check(&json!({"at": 0, "domain": "shop", "descriptors": [{"entries": entries}]}));
        assert_eq!(answer.rules(), [rule.trim_matches('`')], "{entries:?}");
    }
}
