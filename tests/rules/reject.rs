//! What is rejected: the reference's 13 kinds of bad file with its texts, every error of every file at once.

use tidegate::rules::{LoadOptions, SourceFile, load};

/// The errors of these files, as they print.
fn errors(files: &[(&str, &str)], merge_domains: bool) -> Vec<String> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| SourceFile { name: (*name).to_owned(), text: text.as_bytes().to_vec() })
        .collect();
    match load(&files, LoadOptions { merge_domains, ..LoadOptions::default() }) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// Checks the errors of one file, `f`: the reference's texts, behind which may stand what to do.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    begin_with(&errors(&[("f", text)], false), expected, text);
}

/// Checks that each text is as expected, or goes on with a hint in brackets.
#[track_caller]
fn begin_with(got: &[String], expected: &[&str], text: &str) {
    let is_good = |(got, expected): (&String, &&str)| {
        got.strip_prefix(expected).is_some_and(|rest| rest.is_empty() || rest.starts_with(" (") && rest.ends_with(')'))
    };
    let all_good = got.len() == expected.len() && got.iter().zip(expected).all(is_good);
    assert!(all_good, "\n{text}\nexpected {expected:#?}\ngot {got:#?}");
}

/// A file with one descriptor that has these lines (the first of them is line 3).
fn descriptor(lines: &str) -> String {
    format!("domain: d\ndescriptors:\n- {}", lines.replace('\n', "\n  "))
}

/// A file with one `rate_limit` that has these lines (the first of them is line 5).
fn limit(lines: &str) -> String {
    descriptor(&format!("key: k\nrate_limit:\n  {}", lines.replace('\n', "\n  ")))
}

#[test]
fn syntax_errors_have_the_references_prefix_and_a_line() {
    for (text, line) in [("domain: d\ndescriptors: [", 2), ("domain: \"d", 1), ("a: b: c", 1), ("a: *x", 1)] {
        let got = errors(&[("f", text)], false);
        let prefix = format!("f:{line}: error loading config file: yaml: line {line}: ");
        assert!(got.len() == 1 && got[0].starts_with(&prefix), "{text:?}: {got:?}");
    }
}

#[test]
fn type_errors() {
    let cannot = |line: usize, what: &str| {
        format!("f:{line}: error loading config file: yaml: unmarshal errors:\n  line {line}: cannot unmarshal {what}")
    };
    for (text, line, what) in [
        ("[]".to_owned(), 1, "!!seq into map[interface {}]interface {}"),
        ("abc".to_owned(), 1, "!!str `abc` into map[interface {}]interface {}"),
        ("domain: {}".to_owned(), 1, "!!map into string"),
        ("domain: d\ndescriptors: abc".to_owned(), 2, "!!str `abc` into []config.YamlDescriptor"),
        ("domain: d\ndescriptors: {key: a}".to_owned(), 2, "!!map into []config.YamlDescriptor"),
        (descriptor("key: []"), 3, "!!seq into string"),
        (descriptor("key: a\nrate_limit: 10"), 4, "!!int `10` into config.YamlRateLimit"),
        (descriptor("key: a\nrate_limit: []"), 4, "!!seq into config.YamlRateLimit"),
        (descriptor("key: a\nshadow_mode: 'yes'"), 4, "!!str `yes` into bool"),
        (descriptor("key: a\nquota_mode: 1"), 4, "!!int `1` into bool"),
        (descriptor("key: a\nmetadata: abc"), 4, "!!str `abc` into map[string]interface {}"),
        (limit("unit: day\nrequests_per_unit: abc"), 6, "!!str `abc` into uint32"),
        (limit("unit: day\nrequests_per_unit: '10'"), 6, "!!str `10` into uint32"),
        (limit("unit: day\nrequests_per_unit: 4294967296"), 6, "!!int `4294967296` into uint32"),
        (limit("unit: day\nrequests_per_unit: 42949672960"), 6, "!!int `4294967...` into uint32"),
        (limit("unlimited: maybe"), 5, "!!str `maybe` into bool"),
        (limit("unit: day\nreplaces: abc"), 6, "!!str `abc` into []config.yamlReplaces"),
        (limit("unit: day\nreplaces: [{name: []}]"), 6, "!!seq into string"),
    ] {
        check(&text, &[&cannot(line, what)]);
    }
}

#[test]
fn keys_that_are_no_strings() {
    check("domain: d\n0.25: a", &["f:2: config error, key is not of type string: 0.25"]);
    check("domain: d\n~: a", &["f:2: config error, key is not of type string: <nil>"]);
    check("domain: d\nyes: a", &["f:2: config error, key is not of type string: true"]);
    check(&limit("unit: day\n0x10: 1"), &["f:6: config error, key is not of type string: 16"]);
}

#[test]
fn unknown_keys() {
    check("domain: d\nfoo: a", &["f:2: config error, unknown key 'foo'"]);
    check(&descriptor("key: a\nValue: b"), &["f:4: config error, unknown key 'Value'"]);
    check(&limit("unit: day\nrequest_per_unit: 1"), &["f:6: config error, unknown key 'request_per_unit'"]);
    check(
        &limit("unit: day\nreplaces: [{nam: a}]"),
        &["f:6: config error, unknown key 'nam'", "f:6: should not have an empty replaces entry"],
    );
    check("domain: d\n'<<': a", &["f:2: config error, unknown key '<<'"]);
    check(
        "domain: {deep: 1}\n",
        &[
            "f:1: config error, unknown key 'deep'",
            "f:1: error loading config file: yaml: unmarshal errors:\n  line 1: cannot unmarshal !!map into string",
        ],
    );
}

#[test]
fn lists_of_other_than_maps() {
    let text = "config error, yaml file contains list of type other than map:";
    check("domain: d\ndescriptors: [abc]", &[&format!("f:2: {text} abc")]);
    check(
        "domain: d\ndescriptors:\n- key: a\n- ~\n- [b, 1]",
        &[&format!("f:4: {text} <nil>"), &format!("f:5: {text} [b 1]")],
    );
    check(&limit("unit: day\nreplaces: [a]"), &[&format!("f:6: {text} a")]);
}

#[test]
fn leaves_of_other_types() {
    for value in ["0.5", "1e3", ".inf", "09", "9223372036854775808"] {
        check(&limit(&format!("unit: day\nrequests_per_unit: {value}")), &["f:6: error checking config"]);
        check(&descriptor(&format!("key: {value}")), &["f:3: error checking config"]);
        check(&format!("domain: {value}"), &["f:1: error checking config"]);
    }
}

#[test]
fn empty_domains() {
    let text = "config file cannot have empty domain";
    check("", &[&format!("f:1: {text}")]);
    check("---\n", &[&format!("f:1: {text}")]);
    check("descriptors: []", &[&format!("f:1: {text}")]);
    check("descriptors: []\ndomain: ''", &[&format!("f:2: {text}")]);
    check("domain:", &[&format!("f:1: {text}")]);
}

#[test]
fn duplicate_domains() {
    let files = [("a", "domain: d"), ("b", "# again\ndomain: d")];
    assert_eq!(errors(&files, false), ["b:2: duplicate domain 'd' in config file"]);
    assert!(errors(&files, true).is_empty());
}

#[test]
fn empty_keys() {
    check(&descriptor("value: a"), &["f:3: descriptor has empty key"]);
    check(&descriptor("value: a\nkey: ''"), &["f:4: descriptor has empty key"]);
    check(&descriptor("key: a\ndescriptors:\n- key: ~"), &["f:5: descriptor has empty key"]);
}

#[test]
fn duplicate_descriptors() {
    let text = "duplicate descriptor composite key";
    check("domain: d\ndescriptors:\n- key: a\n- key: a", &[&format!("f:4: {text} 'd.a'")]);
    check("domain: d\ndescriptors:\n- {key: a, value: b}\n- {key: a, value: b}", &[&format!("f:4: {text} 'd.a_b'")]);
    check("domain: d\ndescriptors:\n- {key: a_b}\n- {key: a, value: b}", &[&format!("f:4: {text} 'd.a_b'")]);
    check(
        "domain: d\ndescriptors:\n- key: a\n  descriptors:\n  - key: b\n  - key: b",
        &[&format!("f:6: {text} 'd.a.b'")],
    );

    let across = [
        ("a", "domain: test-domain\ndescriptors:\n- {key: key1, value: value1}"),
        ("b", "domain: test-domain\ndescriptors:\n- {key: key1, value: value1}"),
    ];
    assert_eq!(errors(&across, true), ["b:3: duplicate descriptor composite key 'test-domain.key1_value1'"]);
}

#[test]
fn units() {
    check(&limit("requests_per_unit: 1"), &["f:4: invalid rate limit unit ''"]);
    check(&limit("requests_per_unit: 1\nunit: foo"), &["f:6: invalid rate limit unit 'foo'"]);
    check(&limit("requests_per_unit: 1\nunit: unknown"), &["f:6: invalid rate limit unit 'unknown'"]);
    check(&limit("requests_per_unit: -1\nunit: days"), &["f:6: invalid rate limit unit 'days'"]);
    check(&descriptor("key: a\nrate_limit: {}"), &["f:4: invalid rate limit unit ''"]);
    check(&limit("unlimited: true\nunit: day"), &["f:6: should not specify rate limit unit when unlimited"]);
}

#[test]
fn replaces() {
    check(&limit("unit: day\nreplaces: [{name: ''}]"), &["f:6: should not have an empty replaces entry"]);
    check(&limit("unit: day\nreplaces: [{}]"), &["f:6: should not have an empty replaces entry"]);
    check(
        &limit("unit: day\nname: a\nreplaces:\n- name: b\n- name: a"),
        &["f:9: replaces should not contain name of same descriptor"],
    );
    check(
        &limit("unlimited: true\nname: a\nreplaces: [{name: a}]"),
        &["f:7: replaces should not contain name of same descriptor"],
    );
}

#[test]
fn share_threshold() {
    let text = "share_threshold can only be used with wildcard values (containing '*'), but found key";
    check(&descriptor("key: a\nshare_threshold: true"), &[&format!("f:4: {text} 'a'")]);
    check(&descriptor("key: a\nvalue: b\nshare_threshold: true"), &[&format!("f:5: {text} 'a_b'")]);
}

#[test]
fn metadata() {
    // Everything that YAML can say can go out, but for numbers that JSON has no words for.
    for number in [".nan", ".inf", "-.Inf"] {
        let text = format!("f:5: error parsing metadata: {number} is not a finite number");
        check(&descriptor(&format!("key: a\nmetadata:\n  b: [{{c: {number}}}]")), &[&text]);
    }
}

#[test]
fn every_error_of_every_file_is_reported_once() {
    let files = [
        (
            "a.yaml",
            "domain: d\nfoo: 1\ndescriptors:\n- key: a\n  rate_limit: {unit: foo, requests_per_unit: 0.5}\n- value: b\n- key: a\n  descriptors:\n  - key: c\n    share_threshold: true",
        ),
        ("b.yaml", "domain: \"x"),
        ("c.yaml", "domain: e"),
        ("d.yaml", "descriptors:\n- key: a\n  rate_limit: &l {unit: foo}\n- key: b\n  rate_limit: *l"),
    ];
    let got = errors(&files, false);
    let (syntax, others): (Vec<_>, Vec<_>) = got.iter().partition(|error| error.starts_with("b.yaml"));
    assert_eq!(syntax.len(), 1);
    begin_with(
        &others.into_iter().cloned().collect::<Vec<_>>(),
        &[
            "a.yaml:2: config error, unknown key 'foo'",
            "a.yaml:5: error checking config",
            "a.yaml:5: invalid rate limit unit 'foo'",
            "a.yaml:6: descriptor has empty key",
            "a.yaml:7: duplicate descriptor composite key 'd.a'",
            "a.yaml:10: share_threshold can only be used with wildcard values (containing '*'), but found key 'c'",
            "d.yaml:1: config file cannot have empty domain",
            "d.yaml:3: invalid rate limit unit 'foo'",
        ],
        "",
    );
}

#[test]
fn errors_say_what_to_do() {
    let units = "use second, minute, hour, day, week, month or year, or 'period' for other lengths";
    let whole = "'requests_per_unit' must be a whole number from 0 to 4294967295, or -1 for no limit, found";
    for (text, hint) in [
        (limit("unit: day\nrequests_per_unit: 10.5"), format!("{whole} 10.5")),
        (limit("unit: day\nrequests_per_unit: 1e3"), format!("{whole} 1e3")),
        ("domain: 1.5".to_owned(), "put quotes around 1.5, so that 'domain' is a text".to_owned()),
        (descriptor("key: 1.5"), "put quotes around 1.5, so that 'key' is a text".to_owned()),
        (limit("requests_per_unit: 1\nunit: minutes"), format!("did you mean 'minute'? {units}")),
        (limit("requests_per_unit: 1\nunit: Days"), format!("did you mean 'day'? {units}")),
        (limit("requests_per_unit: 1\nunit: fortnight"), units.to_owned()),
        (
            limit("requests_per_unit: 1"),
            "give a 'unit': second, minute, hour, day, week, month or year; or a 'period' such as 30s".to_owned(),
        ),
        (
            limit("unit: day\nrequests_per_unit: '10'"),
            "write a whole number from 0 to 4294967295 without quotes, or -1 for no limit".to_owned(),
        ),
        (descriptor("key: a\nshadow_mode: 'yes'"), "write true or false, without quotes".to_owned()),
        (
            descriptor("key: a\nrate_limit:\n- {unit: day, requests_per_unit: 1}"),
            "write a single block of keys; a list of limits is called 'rate_limits'".to_owned(),
        ),
        (
            descriptor("key: a\nrate_limit: 10"),
            "write a block of keys, such as {unit: minute, requests_per_unit: 10}".to_owned(),
        ),
        (
            "domain: d\ndescriptors: {key: a}".to_owned(),
            "write a list, each element of which begins with '- key:'".to_owned(),
        ),
        ("[]".to_owned(), "write keys with values; a rules file begins with 'domain:'".to_owned()),
        (limit("unit: day\nreplaces: abc"), "write a list of names, such as [{name: other}]".to_owned()),
        (descriptor("key: a\nvalue: [b]"), "write a single text".to_owned()),
        ("domain: d\n1: a".to_owned(), "put quotes around it".to_owned()),
        (
            "domain: d\ndescriptors: [abc]".to_owned(),
            "an element begins with '- ' and a key, such as '- key: NAME'".to_owned(),
        ),
        (
            "---\n# nothing\n---\ndomain: d".to_owned(),
            "only the first YAML document of a file is read, and another one begins in line 3".to_owned(),
        ),
    ] {
        let got = errors(&[("f", &text)], false);
        assert!(got.last().is_some_and(|error| error.ends_with(&format!(" ({hint})"))), "\n{text}\n{got:#?}");
    }
    for (key, place, meant) in [
        ("domian", "", "domain"),
        ("requests_per_units", "limit", "requests_per_unit"),
        ("requests-per-unit", "limit", "requests_per_unit"),
        ("Unit", "limit", "unit"),
        ("rate_limt", "descriptor", "rate_limit"),
        ("desciptors", "descriptor", "descriptors"),
        ("algoritm", "limit", "algorithm"),
        ("count_denid", "limit", "count_denied"),
        ("foo", "limit", ""),
        ("requests", "limit", ""),
    ] {
        let text = match place {
            "limit" => limit(&format!("unit: day\nrequests_per_unit: 1\n{key}: 1")),
            "descriptor" => descriptor(&format!("key: a\n{key}: 1")),
            _ => format!("domain: d\n{key}: 1"),
        };
        let hint = if meant.is_empty() { String::new() } else { format!(" (did you mean '{meant}'?)") };
        let got = errors(&[("f", &text)], false);
        assert!(got[0].ends_with(&format!("config error, unknown key '{key}'{hint}")), "{got:#?}");
    }
}

#[test]
fn a_flood_of_errors_is_cut() {
    let got = errors(&[("f", &format!("domain: d\ndescriptors:\n{}", "- x\n".repeat(2_000)))], false);
    assert_eq!(got.len(), 1_001);
    assert_eq!(got[1_000], "f:1002: and 1000 more errors in this file");
}
