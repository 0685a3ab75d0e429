//! The repository: the house rules that neither the compiler nor clippy knows, the documentation, and what is deployed.
//!
//! Each rule is a function from a file to what is wrong in it; `planted.rs` shows each of them a violation. The table of
//! what may import what is `imports::MAY_USE`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod bounds;
mod chart;
mod circles;
#[path = "../xds/control_plane.rs"]
#[allow(dead_code, reason = "the tests of control planes use all of it")]
mod control_plane;
mod dependencies;
mod docs;
mod files;
mod imports;
mod links;
mod monitoring;
mod planted;
mod rules;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod server;
#[path = "../xds/sets.rs"]
#[allow(dead_code, reason = "the tests of control planes use all of it")]
mod sets;
mod source;
mod words;

use std::sync::LazyLock;

use files::File;
use source::Source;

/// Something wrong, and where.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

fn check_sources(what: &str, rule: impl Fn(&Source) -> Vec<Finding>) {
    let findings: Vec<_> = sources().iter().flat_map(rule).collect();
    report(what, &findings);
}

fn check_files(what: &str, rule: impl Fn(&File) -> Vec<Finding>) {
    let findings: Vec<_> = files::all().iter().flat_map(rule).collect();
    report(what, &findings);
}

fn report(rule: &str, findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what)).collect();
    assert!(lines.is_empty(), "{rule}:\n{}", lines.join("\n"));
}

/// Every Rust file, parsed once for all rules.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let rust = files::all().into_iter().filter(File::is_rust);
        rust.map(|file| Source::new(&file.path, &file.text)).collect()
    });
    &SOURCES
}

#[test]
fn imports_run_one_way() {
    check_sources("imports run one way (tests/repository/imports.rs has the table)", imports::check);
}

#[test]
fn the_import_table_has_no_cycle() {
    imports::assert_acyclic();
}

#[test]
fn no_files_use_each_other() {
    report("uses of files run one way", &circles::of_files(sources()));
}

#[test]
fn every_permission_of_the_import_table_is_used() {
    report("the import table holds what is used, and no more", &circles::unused_permissions(sources()));
}

#[test]
fn the_pure_core_names_no_runtime_no_wire_and_no_clock() {
    check_sources("`engine`, `rules` and `units` are pure", rules::pure_core);
}

#[test]
fn only_the_clock_reads_time() {
    check_sources("only src/runtime/clock.rs reads time", rules::clock_reads);
}

#[test]
fn nothing_is_unsafe() {
    check_sources("no `unsafe` outside the audited files", rules::unsafe_code);
}

#[test]
fn every_channel_is_bounded() {
    check_sources("every channel has a bound", rules::unbounded_channels);
}

#[test]
fn metric_names_live_in_one_file() {
    check_sources("metric names are constants of src/telemetry/names.rs", rules::metric_names);
}

#[test]
fn every_source_file_is_short_well_named_and_says_what_it_is_for() {
    check_sources("files are short, well named and documented", rules::shape);
}

#[test]
fn nothing_is_left_for_later() {
    check_files("no marks for later work", rules::left_for_later);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    check_files("no machine paths, no registry hosts", rules::outside_world);
}

#[test]
fn every_direct_dependency_is_explained() {
    report("each dependency has a line in docs/DEPENDENCIES.md", &dependencies::check());
}
