//! What loads but loses or closes limits without a word in the reference, and is warned about.

use tidegate::rules::{LoadOptions, SourceFile, load};

/// A file with one descriptor that has these lines (the first of them is line 3).
fn descriptor(lines: &str) -> String {
    format!("domain: d\ndescriptors:\n- {}", lines.replace('\n', "\n  "))
}

/// What is warned of in these files, as it prints.
#[track_caller]
fn warnings(texts: &[&str]) -> Vec<String> {
    let names = ('a'..).map(String::from);
    let files: Vec<_> =
        names.zip(texts).map(|(name, text)| SourceFile { name, text: text.as_bytes().to_vec() }).collect();
    let set = load(&files, LoadOptions { merge_domains: true, ..LoadOptions::default() });
    let set = set.unwrap_or_else(|errors| panic!("\n{texts:#?}\n{errors:#?}"));
    set.warnings().iter().map(ToString::to_string).collect()
}

/// Checks the warnings about one file with a descriptor that has these lines (the first of them is line 3).
#[track_caller]
fn warned(lines: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|warning| format!("a:{warning}")).collect();
    assert_eq!(warnings(&[&descriptor(lines)]), expected, "\n{lines}\n");
}

const GOOD: &str = "rate_limit: {unit: day, requests_per_unit: 1}";

#[test]
fn oddities_are_warned_of() {
    warned(
        "key: a\nunit: day\nrate_limit: {unit: day}",
        &[
            "4: 'unit' has no meaning in a descriptor and is ignored",
            "5: 'requests_per_unit' is missing, which means 0: every request will be denied",
        ],
    );
    warned(&format!("key: a\n{GOOD}"), &[]);
    let named = |name: &str| warnings(&[&format!("{}\nname: {name}", descriptor(&format!("key: a\n{GOOD}")))]);
    assert_eq!(named("d"), [""; 0]);
    assert_eq!(named("other"), ["a:5: 'name' has no meaning at the top level of a file and is ignored"]);
}

#[test]
fn a_value_that_is_not_there_is_warned_of() {
    let edit = "give it one, or remove the key";
    warned(
        "key: a\nrate_limit:\n  unit: day\n  requests_per_unit:",
        &["6: 'requests_per_unit' has no value, which means 0: every request will be denied"],
    );
    for (lines, line, key, consequence) in [
        (format!("key: a\nvalue:\n{GOOD}"), 4, "value", "so the descriptor matches any value"),
        (format!("key: a\nvalue: ~\n{GOOD}"), 4, "value", "so the descriptor matches any value"),
        (format!("key: a\n{GOOD}\ndescriptors:"), 5, "descriptors", "so there are no descriptors here"),
        (format!("key: a\n{GOOD}\nshadow_mode: null"), 5, "shadow_mode", "so it has no effect"),
        (format!("key: a\n{GOOD}\nmetadata:"), 5, "metadata", "so it has no effect"),
        ("key: a\nrate_limit: {unit: day, requests_per_unit: 1, ban: }".to_owned(), 4, "ban", "so it has no effect"),
        (
            "key: a\nrate_limit: {unit: day, requests_per_unit: 1, algorithm: token_bucket, queue: {size: 1, mode: }}"
                .to_owned(),
            4,
            "mode",
            "so it has no effect",
        ),
        (
            "key: a\nrate_limit: {unit: day, requests_per_unit: 1, replaces: }".to_owned(),
            4,
            "replaces",
            "so it has no effect",
        ),
    ] {
        warned(&lines, &[&format!("{line}: '{key}' has no value, {consequence}: {edit}")]);
    }
    let rate_limit = warnings(&[&descriptor("key: a\nrate_limit:")]);
    assert_eq!(rate_limit[1], format!("a:4: 'rate_limit' has no value, so the descriptor limits nothing: {edit}"));
    assert!(rate_limit[0].starts_with("a:1: domain 'd' has no rules"), "{rate_limit:?}");
    warned(
        &format!("key: a\nvalue: ''\n{GOOD}"),
        &["4: 'value' is an empty text, so the descriptor matches any value: write the value, or remove the key"],
    );
    let top = warnings(&[&format!("{}\nenabled:\nresponse: {{headers: }}", descriptor(&format!("key: a\n{GOOD}")))]);
    assert_eq!(top.len(), 2, "{top:?}");
}

#[test]
fn a_key_that_is_there_twice_is_warned_of() {
    let last = "only the last one is used";
    let joined = "both are merged, and the last value of each key is used";
    for (text, expected) in [
        (
            format!("domain: d\ndescriptors:\n- {{key: a, {GOOD}}}\ndescriptors:\n- {{key: b, {GOOD}}}"),
            format!("4: 'descriptors' is given twice in one map, first in line 2: {last}"),
        ),
        (
            descriptor("key: a\nrate_limit:\n  requests_per_unit: 1\n  unit: day\n  requests_per_unit: 2"),
            format!("7: 'requests_per_unit' is given twice in one map, first in line 5: {last}"),
        ),
        (
            descriptor(&format!("key: a\n{GOOD}\nrate_limit: {{unit: hour}}")),
            format!("5: 'rate_limit' is given twice in one map, first in line 4: {joined}"),
        ),
        (
            descriptor(&format!("key: a\n{GOOD}\nmetadata: {{x: {{y: 1, y: 2}}}}")),
            format!("5: 'y' is given twice in one map, first in line 5: {last}"),
        ),
    ] {
        assert_eq!(warnings(&[&text]), [format!("a:{expected}")], "\n{text}");
    }
    let merged =
        "domain: d\ndescriptors:\n- &x {key: a, rate_limit: {unit: day, requests_per_unit: 1}}\n- {<<: *x, key: b}";
    assert_eq!(warnings(&[merged]), [""; 0]);
}

#[test]
fn text_behind_the_first_document_is_warned_of() {
    let good = descriptor(&format!("key: a\n{GOOD}"));
    let reported =
        "only the first YAML document of a file is read, the rest is ignored: put each domain in its own file";
    for behind in ["---\ndomain: e", "...\ndomain: e", "---\n[not yaml"] {
        let text = format!("{good}\n{behind}");
        let line = if behind.starts_with("...") { 6 } else { 5 };
        assert_eq!(warnings(&[&text]), [format!("a:{line}: {reported}")], "\n{text}");
    }
    for behind in ["---\n", "---\n# a comment\n", "...\n"] {
        assert_eq!(warnings(&[&format!("{good}\n{behind}")]), [""; 0], "{behind}");
    }
}

#[test]
fn rules_that_are_not_there_are_warned_of() {
    let nothing = |line: usize, name: &str| format!("{line}: domain '{name}' has no rules: its checks are not limited");
    assert_eq!(warnings(&["# cut\ndomain: d"]), [format!("a:{}", nothing(2, "d"))]);
    let good = descriptor(&format!("key: a\n{GOOD}"));
    assert_eq!(warnings(&[&good, "domain: e\ndescriptors:\n- key: k"]), [format!("b:{}", nothing(1, "e"))]);
    assert_eq!(warnings(&["domain: d\ncharge: independent", &good]), [""; 0]);
    let nested = descriptor(&format!("key: a\ndescriptors:\n- {{key: b, {GOOD}}}"));
    assert_eq!(warnings(&[&nested]), [""; 0]);

    let replaces = |name: &str| {
        format!("- key: b\n  rate_limit: {{unit: day, requests_per_unit: 2, replaces: [{{name: {name}}}]}}")
    };
    let named = "domain: d\ndescriptors:\n- {key: a, rate_limit: {unit: day, requests_per_unit: 1, name: x}}\n\
        - {key: c, rate_limit: {unlimited: true, name: y}}";
    for name in ["x", "y"] {
        assert_eq!(warnings(&[&format!("{named}\n{}", replaces(name))]), [""; 0], "{name}");
    }
    let reported = "no limit of domain 'd' has the name 'z': this replaces nothing";
    assert_eq!(warnings(&[&format!("{named}\n{}", replaces("z"))]), [format!("a:6: {reported}")]);
    let other = "domain: e\ndescriptors:\n- {key: a, rate_limit: {unit: day, requests_per_unit: 1, name: z}}";
    assert_eq!(warnings(&[&format!("{named}\n{}", replaces("z")), other]), [format!("a:6: {reported}")]);
    let several = "key: a\nrate_limits:\n- {unit: day, requests_per_unit: 1, replaces: [{name: z}]}";
    warned(several, &[&format!("5: {reported}")]);
    // Another file of the domain may have the name.
    let same = other.replace("domain: e", "domain: d").replace("key: a", "key: q");
    assert_eq!(warnings(&[&format!("{named}\n{}", replaces("z")), &same]), [""; 0]);
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let negative = "has no effect: a negative 'requests_per_unit' means unlimited";
    let bare = "has no effect: this descriptor has no limit, and those below it have flags of their own";
    let unlimited = "has no effect: this descriptor is unlimited";
    for (lines, expected) in [
        (
            "key: a\nrate_limit: {unlimited: true, requests_per_unit: 5}".to_owned(),
            "4: 'requests_per_unit' has no effect where 'unlimited' is true: keep one of them".to_owned(),
        ),
        ("key: a\nrate_limit: {requests_per_unit: -1, ban: 5s}".to_owned(), format!("4: 'ban' {negative}")),
        ("key: a\nrate_limit: {requests_per_unit: -1, count_denied: true}".to_owned(), format!("4: 'count_denied' {negative}")),
        (
            "key: a\nrate_limit: {unit: day, requests_per_unit: 5, ban: 5s, count_denied: true}".to_owned(),
            "4: 'count_denied' has no effect with 'ban': a denied check starts the ban, and the counter starts from zero when it ends".to_owned(),
        ),
        (
            format!("key: a\nshadow_mode: true\ndescriptors:\n- {{key: b, {GOOD}}}"),
            format!("4: 'shadow_mode' {bare}"),
        ),
        (format!("key: a\nquota_mode: true\ndescriptors:\n- {{key: b, {GOOD}}}"), format!("4: 'quota_mode' {bare}")),
        ("key: a\nshadow_mode: true\nrate_limit: {unlimited: true}".to_owned(), format!("4: 'shadow_mode' {unlimited}")),
    ] {
        warned(&lines, &[&expected]);
    }
    for lines in [
        "key: a\nrate_limit: {unit: day, requests_per_unit: -1}",
        "key: a\nshadow_mode: false\nrate_limit: {unlimited: true}",
        "key: a\ndetailed_metric: true\nrate_limit: {unlimited: true}",
        "key: a\nrate_limit: {unit: day, requests_per_unit: 5, algorithm: sliding_log, count_denied: true}",
        "key: a\nrate_limits: [{unit: day, requests_per_unit: 5, ban: 5s, count_denied: true}]",
    ] {
        warned(lines, &[]);
    }
    let together = format!(
        "{}\ncharge: all_or_nothing",
        descriptor("key: a\nrate_limit: {unit: day, requests_per_unit: 5, ban: 5s, count_denied: true}")
    );
    assert_eq!(warnings(&[&together]), [""; 0]);
}

#[test]
fn other_encodings_and_forms_load() {
    let text = descriptor("key: a\nvalue: \"x\ny\"# c\nrate_limit: {unit: day,\nrequests_per_unit: 5}#c")
        .replace("\n  y", "\ny");
    let little: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = format!("\u{feff}{text}").into_bytes();
    for text in [text.into_bytes(), little, big, marked] {
        let set = load(&[SourceFile { name: "a".to_owned(), text }], LoadOptions::default()).unwrap();
        assert_eq!((set.rules()[0].path.as_str(), set.rules()[0].limits[0].limit.max), ("d.a_x y", 5));
    }
}
