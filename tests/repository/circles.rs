//! No two files of a target use each other, by whatever detour; and nothing may be used that is not.
//!
//! A file and the files below its module (`a/mod.rs` and `a/b.rs`) are one house: a parent exports what its children
//! define, and a child sees what its parent does. Between all others, uses run one way.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::imports::MAY_USE;
use crate::source::Source;

/// Files by module: `src/limiter/charge.rs` is `limiter::charge`.
type Modules<'s> = BTreeMap<Vec<String>, &'s Source>;

/// Below which directory a crate's files are, and by which name its paths begin.
const ROOTS: [(&str, &str); 6] = [
    ("src/", "crate"),
    ("benches/server/", "crate"),
    ("benches/counters/", "crate"),
    ("benches/peers/", "crate"),
    ("benches/shared_counters/", "crate"),
    ("tests/repository/", "crate"),
];

/// Files that use each other, a line for each circle.
pub(crate) fn of_files(sources: &[Source]) -> Vec<Finding> {
    ROOTS.iter().flat_map(|(root, _)| circles(root, sources)).collect()
}

fn circles(root: &str, sources: &[Source]) -> Vec<Finding> {
    let modules: Modules<'_> =
        sources.iter().filter_map(|source| Some((module(root, &source.path)?, source))).collect();
    let uses: BTreeMap<_, _> =
        modules.iter().map(|(module, source)| (module, used_modules(&modules, module, source))).collect();
    let mut left = uses.clone();
    // What uses nothing that is left is in no circle.
    while let Some(free) = left.iter().find(|(_, used)| !used.iter().any(|used| left.contains_key(used))) {
        let free = (*free.0).clone();
        left.remove(&free);
    }
    // Nor is what nothing that is left uses.
    while let Some(free) = left.keys().find(|module| !left.values().any(|used| used.contains(**module))) {
        let free = (*free).clone();
        left.remove(&free);
    }
    let finding = |(module, used): (&Vec<String>, BTreeSet<Vec<String>>)| {
        let others: Vec<_> = used.iter().filter(|used| left.contains_key(used)).map(|used| used.join("::")).collect();
        Finding {
            path: modules[module].path.clone(),
            line: 1,
            what: format!("is in a circle of files: it uses {}", others.join(", ")),
        }
    };
    left.clone().into_iter().map(finding).collect()
}

/// The module of a file below `root`; nothing for other files and for tests.
fn module(root: &str, path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix(root)?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    let is_root = ["lib", "main"].contains(&inside);
    (!is_root && !inside.ends_with("/tests")).then(|| inside.split('/').map(str::to_owned).collect())
}

/// The files that a file names, but for those above and below it.
fn used_modules(modules: &Modules<'_>, module: &[String], source: &Source) -> BTreeSet<Vec<String>> {
    let mut used = BTreeSet::new();
    for path in &source.paths {
        let Some(full) = absolute(module, &path.path) else { continue };
        let Some(found) = defined_in(modules, &full) else { continue };
        if !found.starts_with(module) && !module.starts_with(&found) {
            used.insert(found);
        }
    }
    used
}

/// A path from the crate's root on.
fn absolute(module: &[String], path: &str) -> Option<Vec<String>> {
    let names: Vec<_> = path.split("::").map(str::to_owned).collect();
    match names[0].as_str() {
        "crate" => Some(names[1..].to_vec()),
        "self" => Some([module, &names[1..]].concat()),
        "super" => {
            let supers = names.iter().take_while(|name| *name == "super").count();
            Some([&module[..module.len().checked_sub(supers)?], &names[supers..]].concat())
        }
        _ => None,
    }
}

/// The file that defines what a path names: the deepest module in it, and where that only exports the name, the file that
/// it exports it from.
fn defined_in(modules: &Modules<'_>, path: &[String]) -> Option<Vec<String>> {
    let depth = (1..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
    let (module, rest) = path.split_at(depth);
    let Some(name) = rest.first() else { return Some(module.to_vec()) };
    let exported = modules[module].paths.iter().find_map(|used| {
        let (from, last) = used.path.rsplit_once("::")?;
        let child: Vec<_> = from.trim_start_matches("self::").split("::").map(str::to_owned).collect();
        let child = [module, &child].concat();
        (last == name && modules.contains_key(&child)).then_some(child)
    });
    Some(exported.unwrap_or_else(|| module.to_vec()))
}

/// Lines of the import table that no file needs.
pub(crate) fn unused_permissions(sources: &[Source]) -> Vec<Finding> {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        for path in &source.paths {
            let mut names = path.path.split("::");
            if matches!((module[0], names.next()), ("main", Some("tidegate")) | (_, Some("crate")))
                && let Some(other) = names.next()
            {
                used.entry(module[0]).or_default().insert(other);
            }
        }
    }
    let is_unused = |module: &str, other: &str| !used.get(module).is_some_and(|others| others.contains(other));
    let finding = |module, other| Finding {
        path: "tests/repository/imports.rs".to_owned(),
        line: 1,
        what: format!("`{module}` may use `{other}`, and does not: take it out of the table"),
    };
    let lines = MAY_USE.iter().flat_map(|(module, allowed)| allowed.iter().map(move |other| (*module, *other)));
    lines.filter(|(module, other)| is_unused(module, other)).map(|(module, other)| finding(module, other)).collect()
}

#[test]
fn planted_circles_are_found() {
    let file = |path: &str, text: &str| Source::new(path, text);
    let circle = [
        file("src/a/mod.rs", "mod b; mod c; mod d;\npub use b::B;"),
        file("src/a/b.rs", "use super::c::C;\npub struct B;"),
        // By what the parent exports, too.
        file("src/a/c.rs", "fn f() { super::B; }"),
        file("src/a/d.rs", "use super::{B, c};\n#[cfg(test)]\nmod tests { use crate::e; }"),
        file("src/e.rs", "use crate::a::d;"),
    ];
    let found: Vec<_> = of_files(&circle).into_iter().map(|finding| finding.path).collect();
    assert_eq!(found, ["src/a/b.rs", "src/a/c.rs"]);
    assert!(unused_permissions(&circle).len() > 100, "none of the table is used");
}
