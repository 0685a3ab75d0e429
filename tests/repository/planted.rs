//! Violations on purpose: a rule that finds nothing here finds nothing anywhere.

use crate::files::File;
use crate::source::Source;
use crate::{Finding, dependencies, imports, rules};

type Rule = fn(&Source) -> Vec<Finding>;

/// A rule, a file's path, its text, and the lines on which the rule must find something.
const CASES: [(&str, Rule, &str, &str, &[usize]); 24] = [
    ("upwards", imports::check, "src/api/mod.rs", "use crate::rls::Server;", &[1]),
    ("downwards", imports::check, "src/api/mod.rs", "use crate::limiter::{Check, Lane};", &[]),
    ("in a group", imports::check, "src/limiter.rs", "use crate::{\n    rules::RuleSet,\n    api::Answer,\n};", &[3]),
    ("inline", imports::check, "src/engine/cell.rs", "fn f() {\n    crate::runtime::clock::Clock::start();\n}", &[2]),
    ("by super", imports::check, "src/engine/cell.rs", "use super::super::api;\nuse super::limit;", &[1]),
    ("in a deeper file", imports::check, "src/rls/a/b.rs", "use super::super::super::http;", &[1]),
    ("an unknown module", imports::check, "src/stuff.rs", "fn f() {}", &[1]),
    ("from main", imports::check, "src/main.rs", "fn main() { tidegate::cli::run(tidegate::app::x) }", &[1]),
    (
        "in a comment",
        imports::check,
        "src/units.rs",
        "/* /* */ crate::app */ // crate::app\n/// [`crate::app`]\nfn f() {}",
        &[],
    ),
    (
        "in a string",
        imports::check,
        "src/units.rs",
        "const A: &str = r#\"\"crate::app\"#;\nconst B: char = '\"'; use crate::app;",
        &[2],
    ),
    ("in tests", imports::check, "src/units.rs", "#[cfg(test)]\nmod tests { use crate::app; }\nuse crate::app;", &[3]),
    ("in a test file", imports::check, "src/rules/set/tests.rs", "use crate::app;", &[]),
    ("io in the core", rules::pure_core, "src/engine/cell.rs", "use std::{fmt, fs::File, time::Instant};", &[1, 1]),
    (
        "a runtime in the core",
        rules::pure_core,
        "src/rules/set.rs",
        "async fn f() { tokio::task::yield_now().await }",
        &[1],
    ),
    ("io elsewhere", rules::pure_core, "src/config/source.rs", "use std::fs;", &[]),
    (
        "the time",
        rules::clock_reads,
        "src/app.rs",
        "fn f() { let a = clock.now();\nlet b = std::time::Instant::now();\nlet c = SystemTime::now; }",
        &[2, 3],
    ),
    ("the time in the clock", rules::clock_reads, "src/runtime/clock.rs", "fn f() { let b = Instant::now(); }", &[]),
    (
        "unsafe",
        rules::unsafe_code,
        "tests/x.rs",
        "#![forbid(unsafe_code)]\n// unsafe\nfn f() { let a = unsafe { b() }; }",
        &[3],
    ),
    (
        "tokio's channel",
        rules::unbounded_channels,
        "src/app.rs",
        "fn f() { tokio::sync::mpsc::unbounded_channel();\nmpsc::channel(8); }",
        &[1],
    ),
    (
        "std's channel",
        rules::unbounded_channels,
        "src/app.rs",
        "fn f() { mpsc::channel::<Vec<u8>>();\nmpsc::sync_channel(1);\noneshot::channel(); }",
        &[1],
    ),
    (
        "a metric",
        rules::metric_names,
        "src/grpc/checks.rs",
        "// \"tidegate_x\"\nfn f() { let a = 'a'; count(\"tidegate_x\", \"the tidegate_x\"); info!(\"tidegate_x\") }",
        &[2, 2],
    ),
    ("a metric's place", rules::metric_names, "src/telemetry/names.rs", "const X: &str = \"tidegate_x\";", &[]),
    ("a vague name", rules::shape, "src/grpc/util.rs", "//! Things.", &[1]),
    ("no doc", rules::shape, "src/grpc/checks.rs", "// Checks.", &[1]),
];

#[test]
fn planted_violations_are_found_and_nothing_else() {
    for (name, rule, path, text, lines) in CASES {
        let findings = rule(&Source::new(path, text));
        let found: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(found, lines, "{name}: {findings:?}");
    }
    let long = Source::new("src/units.rs", &format!("//! Units.\n{}", "fn f() {}\n".repeat(500)));
    assert_eq!(rules::shape(&long).len(), 1, "a long file");
}

#[test]
fn planted_words_are_found_in_any_file() {
    let file = |path: &str, text: String| File { path: path.to_owned(), text };
    let later = ["// TO_DO: x", "// FIX_ME", "fn f() { to_do!() }", "fn f() { unimpl_emented!() }"];
    for text in later.map(|text| text.replace('_', "")) {
        assert_eq!(rules::left_for_later(&file("src/a.rs", text.clone())).len(), 1, "{text}");
    }
    let text = "Method: to_do lists are fine, METHO_DO too".replace("to_do", "todo").replace('_', "");
    assert_eq!(rules::left_for_later(&file("a.md", text)).len(), 0);
    let outside =
        ["cd /wo_rk/x", "\"/ro_ot/.cargo\"", "https://py_pi.org/simple", "see sparse+https://index.cra_tes.io/"];
    for text in outside.map(|text| text.replace('_', "")) {
        assert_eq!(rules::outside_world(&file("a.sh", text.clone())).len(), 1, "{text}");
    }
    let text = "https://github.com/x/ho_me/y and $PWD/wo_rk/z and /proc/1/ro_ot/".replace('_', "");
    assert_eq!(rules::outside_world(&file("a.md", text)).len(), 0);
}

#[test]
fn an_unexplained_dependency_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\na-b = { version = \"1\",\n  features = [] }\n\
                    [dev-dependencies.c]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nd = \"1\"\n";
    let docs = "| a | for it | chosen | refused |\nand `c` for tests; a-b is not in backticks";
    let missing: Vec<usize> = dependencies::unexplained(manifest, docs).iter().map(|finding| finding.line).collect();
    assert_eq!(missing, [5, 10]);
}
