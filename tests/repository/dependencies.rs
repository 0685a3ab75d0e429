//! Every direct dependency is one that somebody chose, and the reason is written down.

use std::fs;
use std::path::Path;

use crate::Finding;

/// Dependencies of `Cargo.toml` without a line in `docs/DEPENDENCIES.md`.
pub(crate) fn check() -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
    unexplained(&read("Cargo.toml"), &read("docs/DEPENDENCIES.md"))
}

/// A line explains what it names in backticks, or in the first cell of a table.
pub(crate) fn unexplained(manifest: &str, explanations: &str) -> Vec<Finding> {
    let explains = |line: &str, name: &str| {
        line.contains(&format!("`{name}`")) || line.split('|').nth(1).is_some_and(|cell| cell.trim() == name)
    };
    let missing = direct(manifest).into_iter().filter(|(_, name)| !explanations.lines().any(|l| explains(l, name)));
    let finding = |(line, name): (usize, &str)| Finding {
        path: "Cargo.toml".to_owned(),
        line,
        what: format!("`{name}` has no line in docs/DEPENDENCIES.md"),
    };
    missing.map(finding).collect()
}

/// The names under `[dependencies]`, `[dev-dependencies]`, `[build-dependencies]`, also of one target only.
fn direct(manifest: &str) -> Vec<(usize, &str)> {
    let (mut found, mut inside) = (Vec::new(), false);
    for (number, line) in (1..).zip(manifest.lines()) {
        if let Some(table) = line.trim().strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies");
            let of_one = table.rsplit_once("dependencies.").map(|(_, name)| (number, name));
            found.extend(of_one);
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with([' ', '#'])) {
            found.push((number, name.trim().trim_matches('"')));
        }
    }
    found
}
