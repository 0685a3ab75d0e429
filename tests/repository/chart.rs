//! What the Helm chart and the kustomize overlays repeat: copies of files from elsewhere, and the table of the chart's values.
//!
//! `UPDATE_DOCS=1 cargo test --test repository` makes both again.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::{env, fs};

use serde_json::Value;

use crate::docs::holds;
use crate::files::{self, File};

const VALUES: &str = "deploy/helm/tidegate/values.yaml";
const SCHEMA: &str = "deploy/helm/tidegate/values.schema.json";

/// A file, and its copy. A chart and a kustomization contain no files but those below them.
const COPIES: [(&str, &str); 9] = [
    ("deploy/prometheus/alerts.yaml", "deploy/helm/tidegate/files/alerts.yaml"),
    ("deploy/grafana/tidegate.json", "deploy/helm/tidegate/files/dashboard.json"),
    ("deploy/envoy/ratelimit.yaml", "deploy/helm/tidegate/files/ratelimit.yaml"),
    ("deploy/envoy/ratelimit.yaml", "deploy/kustomize/base/ratelimit.yaml"),
    ("deploy/envoy/ratelimit.yaml", "deploy/kustomize/overlays/sidecar/ratelimit.yaml"),
    ("deploy/envoy/ratelimit.yaml", "deploy/compose/rules/ratelimit.yaml"),
    ("deploy/envoy/sidecar.yaml", "deploy/kustomize/overlays/sidecar/envoy.yaml"),
    ("deploy/envoy/gateway.yaml", "deploy/kustomize/overlays/gateway/envoy.yaml"),
    ("deploy/envoy/gateway.ratelimit.yaml", "deploy/kustomize/overlays/gateway/ratelimit.yaml"),
];

fn path(file: &str) -> String {
    format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn copies_equal_their_originals() {
    let update = env::var_os("UPDATE_DOCS").is_some();
    for (original, copy) in COPIES {
        let text = read(original);
        if fs::read_to_string(path(copy)).ok().as_deref() == Some(&text) {
            continue;
        }
        assert!(update, "{copy} is not {original}: `UPDATE_DOCS=1 cargo test --test repository` copies it again");
        fs::write(path(copy), text).unwrap();
    }
}

/// Images and the chart have the version of the crate, wherever it is repeated.
#[test]
fn versions_are_that_of_the_crate() {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let deployed = |file: &&File| file.path.starts_with("deploy/") || file.path == "docs/KUBERNETES.md";
    let (mut found, mut wrong) = (0, Vec::new());
    for file in files::all().iter().filter(deployed) {
        for line in file.text.lines() {
            let tags = line.match_indices("tidegate:").map(|(at, before)| &line[at + before.len()..]);
            // A port has no dot.
            let is_version = |tag: &&str| tag.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('.');
            let tags = tags.filter(is_version);
            let own_tag = after(line, "newTag: ").filter(|_| line.contains("name: tidegate,"));
            let others = [own_tag, after(line, "appVersion: "), after(line, "image.version=\"")];
            for version in tags.chain(others.into_iter().flatten()) {
                found += 1;
                if !version.starts_with(VERSION) {
                    wrong.push(format!("{}: {line}", file.path));
                }
            }
        }
    }
    assert!(wrong.is_empty() && found > 8, "not {VERSION}, of {found} places:\n{}", wrong.join("\n"));
}

fn after<'l>(line: &'l str, text: &str) -> Option<&'l str> {
    line.split_once(text).map(|(_, after)| after)
}

/// A key of the values file, with what is above it.
#[derive(Debug)]
struct Entry {
    path: Vec<String>,
    comment: String,
    /// The value behind the colon; empty for one on lines of its own.
    value: String,
}

/// The keys of a values file in block style, in their order; lists are values.
fn entries(text: &str) -> Vec<Entry> {
    let (mut found, mut above, mut comment) = (Vec::new(), Vec::<(usize, String)>::new(), String::new());
    for line in text.lines() {
        let (indent, content) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(words) = content.strip_prefix('#') {
            comment += words;
            continue;
        }
        let key = content.split_once(':').filter(|(key, _)| key.chars().all(char::is_alphanumeric));
        if let Some((key, value)) = key {
            above.retain(|(outer, _)| *outer < indent);
            above.push((indent, key.to_owned()));
            let path = above.iter().map(|(_, key)| key.clone()).collect();
            let comment = std::mem::take(&mut comment).trim().to_owned();
            found.push(Entry { path, comment, value: value.trim().to_owned() });
        }
        comment.clear();
    }
    found
}

/// The keys with a comment. A key without one has keys below it that have, or is below one that has.
fn documented(text: &str) -> Vec<Entry> {
    let all = entries(text);
    let paths: Vec<_> = all.iter().filter(|entry| !entry.comment.is_empty()).map(|entry| entry.path.clone()).collect();
    for Entry { path, comment, .. } in &all {
        let related = |other: &Vec<String>| path.starts_with(other) || other.starts_with(path);
        assert!(paths.iter().any(related), "{} has no comment in {VALUES}", path.join("."));
        let below = paths.iter().filter(|other| other.starts_with(path) && *other != path).count();
        assert!(comment.is_empty() || below == 0, "{} and what is below it have comments", path.join("."));
    }
    all.into_iter().filter(|entry| !entry.comment.is_empty()).collect()
}

#[test]
fn the_table_of_values_is_that_of_the_values() {
    let mut table = "| value | default | meaning |\n| --- | --- | --- |\n".to_owned();
    for Entry { path, comment, value } in documented(&read(VALUES)) {
        let default = if value.is_empty() { "see `values.yaml`".to_owned() } else { format!("`{value}`") };
        writeln!(table, "| `{}` | {default} | {comment} |", path.join(".")).unwrap();
    }
    holds("deploy/helm/tidegate/README.md", "values", &table);
}

/// Every value is in the schema, and the schema has no value that is not.
#[test]
fn the_schema_has_every_value_and_no_other() {
    let schema: Value = serde_json::from_str(&read(SCHEMA)).unwrap();
    let values: BTreeSet<String> = documented(&read(VALUES)).iter().map(|entry| entry.path.join(".")).collect();
    let mut known = BTreeSet::new();
    add_values(&schema, "", &values, &mut known);
    // Helm puts this one in by itself.
    assert!(known.remove("global"), "{known:?}");
    assert_eq!(known, values);
}

/// The paths of the schema's properties, down to those that the values file documents.
fn add_values(schema: &Value, path: &str, values: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().filter(|_| !values.contains(path));
    let Some(properties) = properties else {
        found.insert(path.to_owned());
        return;
    };
    assert_eq!(schema["additionalProperties"], false, "{path} takes any name");
    for (name, below) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        add_values(below, &path, values, found);
    }
}

#[test]
fn planted_values_are_read() {
    let found = documented("# First.\na: 1\nb:\n  # Second,\n  # in two lines.\n  c: {d: 1}\n# A whole.\ne:\n  f: 2\n");
    let found: Vec<_> = found.iter().map(|e| (e.path.join("."), e.comment.as_str(), e.value.as_str())).collect();
    let expected = [("a", "First.", "1"), ("b.c", "Second, in two lines.", "{d: 1}"), ("e", "A whole.", "")];
    assert_eq!(found, expected.map(|(path, comment, value)| (path.to_owned(), comment, value)));
}
