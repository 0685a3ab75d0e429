//! The rules, each from a file to what is wrong in it.

use crate::Finding;
use crate::files::File;
use crate::source::{Source, lines_with_word};

/// The engine and the rules run on a virtual clock, in a fuzzer and in `simulate`: nothing of the world is in them.
pub(crate) fn pure_core(source: &Source) -> Vec<Finding> {
    let pure = source.module().is_some_and(|module| ["engine", "rules", "units"].contains(&module[0]));
    let named = |path: &str| {
        let forbidden = ["dashmap", "prost", "tokio", "tonic", "std::fs", "std::net", "std::process", "std::thread"];
        let inside = |outer: &&str| path == *outer || path.starts_with(&format!("{outer}::"));
        forbidden.iter().any(inside) || path.split("::").any(|name| ["Instant", "SystemTime"].contains(&name))
    };
    if pure { paths_where(source, "not in the pure core", named) } else { Vec::new() }
}

/// Time is an argument: code that needs it is given a `Clock` or a `Timestamp`.
pub(crate) fn clock_reads(source: &Source) -> Vec<Finding> {
    let reads = |path: &str| path.ends_with("::now") && !path.ends_with("Clock::now");
    if source.path == "src/runtime/clock.rs" || !source.path.starts_with("src/") {
        return Vec::new();
    }
    paths_where(source, "read the time through `clock`", reads)
}

/// No file has been audited for the unsafe code it holds; each that is gets a line here, with the reason.
const AUDITED_UNSAFE: [&str; 0] = [];

pub(crate) fn unsafe_code(source: &Source) -> Vec<Finding> {
    if AUDITED_UNSAFE.contains(&source.path.as_str()) {
        return Vec::new();
    }
    source.unsafe_lines.iter().map(|line| finding(&source.path, *line, "unsafe".to_owned())).collect()
}

pub(crate) fn unbounded_channels(source: &Source) -> Vec<Finding> {
    let unbounded = source.paths.iter().filter(|used| {
        let by_name = used.path.rsplit("::").next().is_some_and(|name| name.starts_with("unbounded"));
        let of_std = used.path.ends_with("std::sync::mpsc::channel");
        by_name || of_std || (used.path.ends_with("mpsc::channel") && used.called_with_nothing)
    });
    unbounded.map(|used| finding(&source.path, used.line, format!("`{}` has no bound", used.path))).collect()
}

/// A name in two places is two names after the next change.
pub(crate) fn metric_names(source: &Source) -> Vec<Finding> {
    if source.path.starts_with("src/telemetry/names") || !source.path.starts_with("src/") {
        return Vec::new();
    }
    let prefixes = ["tidegate_", "ratelimit_service_"];
    let named = source.strings.iter().filter(|(_, text)| prefixes.iter().any(|prefix| text.starts_with(prefix)));
    named.map(|(line, text)| finding(&source.path, *line, format!("the metric name {text:?}"))).collect()
}

pub(crate) fn shape(source: &Source) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        wrong.push(finding(&source.path, lines, format!("{lines} lines, at most {MAX_LINES} are allowed")));
    }
    let names = source.path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.into_iter().find(|name| VAGUE_NAMES.contains(name)) {
        wrong.push(finding(&source.path, 1, format!("`{name}` does not say what is in it")));
    }
    if source.path.starts_with("src/") && !source.text.starts_with("//! ") {
        wrong.push(finding(&source.path, 1, "does not begin with its `//!` documentation".to_owned()));
    }
    wrong
}

/// Far above the median of 120; what is longer holds two things.
const MAX_LINES: usize = 500;

const VAGUE_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "shared", "stuff"];

pub(crate) fn left_for_later(file: &File) -> Vec<Finding> {
    let mut found = words(&file.path, &file.text, &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")]);
    if file.is_rust() {
        let source = Source::new(&file.path, &file.text);
        let later = source.macros.iter().filter(|(_, name)| ["todo", "unimplemented"].contains(&name.as_str()));
        found.extend(later.map(|(line, name)| finding(&file.path, *line, name.clone())));
    }
    found
}

/// What is true of one machine is no part of the repository, and registries are the package clients' business.
pub(crate) fn outside_world(file: &File) -> Vec<Finding> {
    let lines = || (1..).zip(file.text.lines());
    let mut found = Vec::new();
    for path in MACHINE_PATHS {
        let begins = |line: &str| {
            let before = |at: usize| line[..at].chars().next_back().unwrap_or(' ');
            line.match_indices(path).any(|(at, _)| !before(at).is_alphanumeric() && !"._-/}~".contains(before(at)))
        };
        found.extend(lines().filter(|(_, line)| begins(line)).map(|(n, _)| finding(&file.path, n, path.to_owned())));
    }
    for host in REGISTRY_HOSTS {
        let named = lines().filter(|(_, line)| line.contains(host));
        found.extend(named.map(|(n, _)| finding(&file.path, n, host.to_owned())));
    }
    found
}

const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];

const REGISTRY_HOSTS: [&str; 7] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("files.", "pythonhosted.org"),
    concat!("proxy.", "golang.org"),
    concat!("registry.", "npmjs.org"),
    concat!("deb.", "debian.org"),
];

fn paths_where(source: &Source, why: &str, wrong: impl Fn(&str) -> bool) -> Vec<Finding> {
    let found = source.paths.iter().filter(|used| wrong(&used.path));
    found.map(|used| finding(&source.path, used.line, format!("`{}`: {why}", used.path))).collect()
}

fn words(path: &str, text: &str, words: &[&str]) -> Vec<Finding> {
    let found = words.iter().flat_map(|word| lines_with_word(text, word).into_iter().map(move |line| (line, word)));
    found.map(|(line, word)| finding(path, line, (*word).to_owned())).collect()
}

fn finding(path: &str, line: usize, what: String) -> Finding {
    Finding { path: path.to_owned(), line, what }
}
