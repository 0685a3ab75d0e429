//! Which module may name which: `main -> cli -> app -> {grpc, http} -> wire -> limiter -> {rules, store, usage} ->
//! engine -> units`, and beside that line the modules that have no place in it.

use std::collections::BTreeMap;

use crate::Finding;
use crate::source::Source;

/// Each module of the crate, and all that it may name. `main` sees the crate from outside, as `tidegate`.
pub(crate) const MAY_USE: [(&str, &[&str]); 24] = [
    ("main", &["cli"]),
    (
        "cli",
        &[
            "app",
            "clock",
            "config",
            "engine",
            "limiter",
            "load",
            "net",
            "rules",
            "settings",
            "simulate",
            "telemetry",
            "units",
            "wire",
        ],
    ),
    (
        "app",
        &[
            "alerts",
            "background",
            "clock",
            "config",
            "grpc",
            "history",
            "http",
            "limiter",
            "net",
            "rules",
            "settings",
            "shutdown",
            "store",
            "sweeper",
            "telemetry",
            "units",
            "usage",
            "wire",
        ],
    ),
    // The admin port speaks plain HTTP and gRPC, so `http` hands over to `grpc`; never the other way.
    (
        "http",
        &[
            "clock",
            "config",
            "grpc",
            "history",
            "limiter",
            "net",
            "rules",
            "shutdown",
            "telemetry",
            "units",
            "usage",
            "wire",
        ],
    ),
    ("grpc", &["clock", "history", "limiter", "net", "shutdown", "telemetry", "units", "usage", "wire"]),
    // The same decisions on a virtual clock: no front end, no process.
    ("simulate", &["engine", "limiter", "rules", "units", "usage", "wire"]),
    // A client of any server: of the wire it takes only the messages.
    ("load", &["clock", "net", "units", "wire"]),
    // Reads what was counted and writes it down; asked by the admin port.
    ("history", &["background", "clock", "units", "usage"]),
    // Off the decision path, fed by what it leaves behind.
    ("alerts", &["background", "clock", "limiter", "rules", "settings", "telemetry", "units", "usage"]),
    ("sweeper", &["background", "clock", "limiter", "units", "usage"]),
    ("config", &["background", "clock", "limiter", "rules", "units"]),
    ("telemetry", &["background", "clock", "config", "limiter", "rules", "settings", "store", "units", "usage"]),
    ("wire", &["engine", "limiter", "rules", "units", "usage"]),
    ("limiter", &["engine", "rules", "store", "units", "usage"]),
    // The store takes `now` from its callers; the clock only tells it how long a sweep's steps took.
    ("store", &["clock", "engine", "rules", "units"]),
    ("usage", &["engine", "rules", "units"]),
    ("rules", &["engine", "units"]),
    ("engine", &["units"]),
    ("settings", &["net", "rules", "units"]),
    ("shutdown", &["clock", "units"]),
    ("net", &["shutdown", "units"]),
    ("clock", &["units"]),
    // Threads that give way to those that decide.
    ("background", &[]),
    ("units", &[]),
];

/// Paths that name a module which this file's module may not use.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(module) = source.module().filter(|module| module[0] != "lib") else { return Vec::new() };
    let finding = |line, what| Finding { path: source.path.clone(), line, what };
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module[0]) else {
        return vec![finding(1, format!("`{}` has no line in the import table", module[0]))];
    };
    let root = if module[0] == "main" { "tidegate" } else { "crate" };
    let mut findings = Vec::new();
    for used in source.live_paths() {
        let names: Vec<&str> = used.path.split("::").collect();
        let supers = names.iter().take_while(|name| **name == "super").count();
        if supers >= module.len() {
            findings.push(finding(used.line, format!("`{}` leaves the module: write `crate::`", used.path)));
        }
        let other = names.get(1).filter(|other| names[0] == root && **other != module[0]);
        if let Some(other) = other.filter(|other| !allowed.contains(other)) {
            let what = format!("`{}` may not use `{other}`, only: {}", module[0], allowed.join(", "));
            findings.push(finding(used.line, what));
        }
    }
    findings
}

/// Whoever may be used by a module may not use it in turn, by whatever detour.
pub(crate) fn assert_acyclic() {
    let mut left: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    while !left.is_empty() {
        let free = left.iter().find(|(_, uses)| !uses.iter().any(|used| left.contains_key(used)));
        let free = *free.unwrap_or_else(|| panic!("these modules use each other: {left:?}")).0;
        left.remove(free);
    }
}
