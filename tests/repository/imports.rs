//! Which module may name which: `main -> cli -> app -> {rls, http, admin} -> service -> api -> limiter -> {store, usage} ->
//! rules -> engine -> units`, and beside that line the modules that have no place in it.

use std::collections::BTreeMap;

use crate::Finding;
use crate::source::Source;

/// Each module of the crate, and all that it may name. `main` sees the crate from outside, as `tidegate`.
pub(crate) const MAY_USE: [(&str, &[&str]); 38] = [
    ("main", &["cli"]),
    (
        "cli",
        &[
            "access",
            "api",
            "app",
            "bench",
            "config",
            "engine",
            "engine_link",
            "limiter",
            "net",
            "rules",
            "runtime",
            "sanitize",
            "settings",
            "simulate",
            "suggest",
            "telemetry",
            "units",
        ],
    ),
    (
        "app",
        &[
            "access",
            "admin",
            "alerts",
            "api",
            "config",
            "engine_link",
            "grpc",
            "history",
            "http",
            "limiter",
            "net",
            "operations",
            "recording",
            "rls",
            "rules",
            "runtime",
            "sanitize",
            "service",
            "settings",
            "sharing",
            "simulate",
            "state",
            "store",
            "telemetry",
            "units",
            "usage",
            "xds",
        ],
    ),
    ("rls", &["access", "api", "grpc", "http2", "limiter", "net", "runtime", "service", "telemetry", "units"]),
    // The admin port speaks plain HTTP and gRPC.
    (
        "admin",
        &[
            "access",
            "alerts",
            "api",
            "config",
            "engine",
            "grpc",
            "history",
            "http",
            "limiter",
            "net",
            "operations",
            "recording",
            "rules",
            "runtime",
            "sanitize",
            "sharing",
            "store",
            "units",
            "usage",
            "xds",
        ],
    ),
    ("fuzzed", &["access", "http2", "net"]),
    // Who may do what; no request, no port.
    ("access", &["engine", "hex", "rules", "runtime", "sanitize", "store", "units"]),
    // Counters over a restart.
    ("state", &["engine", "limiter", "runtime", "store", "units"]),
    // What operators change; asked by the admin port.
    (
        "operations",
        &["config", "hex", "history", "ledger", "limiter", "rules", "runtime", "sanitize", "sharing", "store", "units"],
    ),
    (
        "http",
        &[
            "api", "config", "grpc", "history", "limiter", "net", "runtime", "sanitize", "service", "sharing", "state",
            "xds",
        ],
    ),
    ("grpc", &["api", "runtime"]),
    // Samples of checks; offered by the service, read by the admin port and the process.
    ("recording", &["api", "hex", "limiter", "rules", "units"]),
    ("service", &["access", "api", "limiter", "recording", "rules", "runtime", "sharing", "telemetry", "units"]),
    // Reads what was counted and writes it down; asked by the admin port.
    ("history", &["runtime", "units", "usage"]),
    // Off the decision path, fed by what it leaves behind.
    ("alerts", &["limiter", "rules", "runtime", "sanitize", "settings", "units", "usage"]),
    ("telemetry", &["config", "runtime", "sanitize", "settings", "units", "usage"]),
    ("settings", &["engine_link", "net", "rules", "xds"]),
    ("config", &["rules", "runtime", "units"]),
    // Rules from a control plane, handed over to the publisher that files use.
    ("xds", &["api", "config", "hex", "net", "rules", "runtime", "sanitize", "units"]),
    // The same decisions on a virtual clock: no front end, no process.
    ("simulate", &["api", "limiter", "rules", "sanitize", "units", "usage"]),
    // Limits that fit what came: no clock, no file.
    ("suggest", &["calendar", "engine", "limiter", "rules", "sanitize", "units"]),
    // A client of any server: of the API it takes only the messages.
    ("bench", &["api", "http2", "net", "runtime", "sanitize", "units"]),
    ("api", &["engine", "limiter", "rules", "units", "usage"]),
    ("limiter", &["calendar", "engine", "engine_link", "hex", "rules", "store", "units", "usage"]),
    ("store", &["calendar", "engine", "runtime", "units"]),
    ("usage", &["calendar", "engine", "units"]),
    ("rules", &["calendar", "engine", "sanitize", "units"]),
    // Who asks the engine of shared counters, and when.
    ("sharing", &["engine", "engine_link", "ledger", "runtime", "store", "units"]),
    // What operators changed, as replicas share it.
    ("ledger", &["units"]),
    // The engine of shared counters, and its protocol.
    ("engine_link", &["engine", "net", "store", "units"]),
    ("engine", &["calendar", "units"]),
    // Windows of a time zone, by the database that is compiled in.
    ("calendar", &["units"]),
    ("net", &["http2", "runtime"]),
    ("http2", &[]),
    ("runtime", &["units"]),
    ("units", &[]),
    ("hex", &[]),
    ("sanitize", &[]),
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
    for used in &source.paths {
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
