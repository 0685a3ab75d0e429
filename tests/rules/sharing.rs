//! `sharing`: what it says, where it may be, and what cannot be shared.

use tidegate::engine::WhenDown;
use tidegate::rules::{LoadOptions, RuleSet, Sharing, SharingMode, SourceFile, changes, load};

fn load_files(texts: &[&str]) -> Result<RuleSet, Vec<String>> {
    let names = ('a'..).map(String::from);
    let files: Vec<_> =
        names.zip(texts).map(|(name, text)| SourceFile { name, text: text.as_bytes().to_vec() }).collect();
    load(&files, LoadOptions { merge_domains: true, ..LoadOptions::default() })
        .map_err(|errors| errors.iter().map(|error| format!("{}: {}", error.line, error.message)).collect())
}

#[track_caller]
fn loaded(text: &str) -> RuleSet {
    load_files(&[text]).unwrap_or_else(|errors| panic!("\n{text}\n{errors:#?}"))
}

/// A file with a `rate_limit` of 10 per minute in line 4, and what its top level says.
fn file(top: &str, limit: &str) -> String {
    format!("domain: d\n{top}\ndescriptors:\n- {{key: k, rate_limit: {{unit: minute, requests_per_unit: 10{limit}}}}}")
}

#[test]
fn a_limit_says_more_than_its_file() {
    let said = |mode, when_down, slot: Option<&str>| Sharing { mode, when_down, slot: slot.map(str::to_owned) };
    for (top, limit, expected) in [
        ("", "", said(None, None, None)),
        ("sharing: exact", "", said(Some(SharingMode::Exact), None, None)),
        ("sharing: exact", ", sharing: local", said(Some(SharingMode::Local), None, None)),
        (
            "sharing: {mode: exact, when_down: deny, slot: tenant}",
            ", sharing: {mode: leased, slot: user}",
            said(Some(SharingMode::Leased), Some(WhenDown::Deny), Some("user")),
        ),
        ("", ", sharing: {when_down: allow}", said(None, Some(WhenDown::Allow), None)),
        ("sharing:", ", sharing: {when_down: local}", said(None, Some(WhenDown::Local), None)),
    ] {
        let set = loaded(&file(top, limit));
        let rule = &set.rules()[0];
        assert_eq!(rule.sharing(&rule.limits[0]), expected, "{top}, {limit}");
    }
    let set = load_files(&[&file("", ""), "domain: d\nsharing: local"]).unwrap();
    let rule = &set.rules()[0];
    assert_eq!(rule.sharing(&rule.limits[0]).mode, Some(SharingMode::Local), "a later file of the domain");
}

#[test]
fn wrong_words_and_places_are_errors_with_their_lines() {
    let wrong = "'sharing' must be one of local, exact, leased, found";
    for (text, error) in [
        (file("sharing: both", ""), format!("2: {wrong} 'both'")),
        (file("", ", sharing: 1"), format!("4: {wrong} '1'")),
        (file("", ", sharing: {mode: all}"), "4: 'mode' must be one of local, exact, leased, found 'all'".to_owned()),
        (
            file("sharing: {when_down: open}", ""),
            "2: 'when_down' must be one of local, deny, allow, found 'open'".to_owned(),
        ),
        (file("", ", sharing: {when: deny}"), "4: config error, unknown key 'when'".to_owned()),
        (file("", ", sharing: {slot: ''}"), "4: 'slot' must be the key of an entry, found ''".to_owned()),
        (
            file("", ", sharing: {}"),
            "4: 'sharing' must be a map with mode, when_down or slot, found 'map[]'".to_owned(),
        ),
        (
            "domain: d\ndescriptors:\n- key: k\n  sharing: local".to_owned(),
            "4: 'sharing' is not allowed in a descriptor: it is a key of rate_limit or the top level of a file"
                .to_owned(),
        ),
        (
            "domain: d\ndescriptors:\n- {key: k, rate_limit: {unlimited: true, sharing: local}}".to_owned(),
            "3: should not specify sharing when unlimited".to_owned(),
        ),
        (
            "domain: d\ndescriptors:\n- {key: k, rate_limit: {period: 5ms, requests_per_unit: 1, sharing: exact}}"
                .to_owned(),
            "3: this limit cannot be shared: a period below 10ms is too short to be shared".to_owned(),
        ),
    ] {
        assert_eq!(load_files(&[&text]).err(), Some(vec![error]), "\n{text}\n");
    }
    assert_eq!(
        load_files(&["domain: d\nsharing: local", "domain: d\nsharing: exact"]).err().unwrap(),
        ["2: 'sharing' of domain 'd' has a different value in another file: keep one of them"]
    );
}

#[test]
fn each_limit_says_how_it_is_shared_and_why() {
    for (limit, expected) in [
        ("", "leased"),
        (", algorithm: sliding_window", "leased"),
        (", algorithm: sliding_log", "exact (a sliding_log keeps the time of each hit)"),
        (", ban: 5s", "exact (hits that are lent would begin a ban too early)"),
        (", algorithm: sliding_window, count_denied: true", "exact (each denied check counts)"),
        (", algorithm: token_bucket, burst: 950", "leased by at most 9 replicas"),
        (", algorithm: token_bucket", "exact (a burst below 100 is too small to be lent)"),
        (", algorithm: token_bucket, burst: 950, queue: 1", "exact (a queue is an order of hits)"),
        (", sharing: local", "local (the rules say so)"),
        (", sharing: exact", "exact (the rules say so)"),
        (", sharing: {when_down: deny, slot: k}", "leased, deny when the store is down, in the slot of \"k\""),
    ] {
        let set = loaded(&file("sharing: leased", limit));
        assert!(set.rules()[0].words().ends_with(&format!(", {expected}")), "{limit}: {}", set.rules()[0].words());
    }
    let short =
        loaded("domain: d\nsharing: leased\ndescriptors:\n- {key: k, rate_limit: {period: 5ms, requests_per_unit: 9}}");
    assert!(short.rules()[0].words().ends_with("local (a period below 10ms is too short to be shared)"));
    assert_eq!(loaded(&file("", "")).rules()[0].words(), "10 per minute", "without a word of it, nothing is said");
}

#[test]
fn a_cluster_needs_slots_for_what_is_charged_together_and_not_leased() {
    let two = |top: &str, user: &str, tenant: &str| {
        let limit = |more: &str| format!("rate_limit: {{unit: minute, requests_per_unit: 10{more}}}");
        loaded(&format!(
            "domain: d\n{top}\ndescriptors:\n- {{key: tenant, descriptors: [{{key: user, {}}}]}}\n- {{key: tenant, {}, value: a}}",
            limit(user),
            limit(tenant)
        ))
    };
    let errors = |set: &RuleSet, is_cluster| {
        let found = set.sharing_errors(is_cluster, 3);
        found.iter().map(|error| (error.line, error.message.clone())).collect::<Vec<_>>()
    };
    let joint = "charge: all_or_nothing";
    let log = ", algorithm: sliding_log";
    for (top, user, tenant, lines) in [
        (joint, "", "", vec![]),
        (joint, log, "", vec![4]),
        (joint, ", sharing: exact", "", vec![]),
        (joint, log, ", ban: 5s", vec![4, 5]),
        (joint, ", algorithm: sliding_log, sharing: local", "", vec![]),
        (joint, ", algorithm: sliding_log, sharing: {slot: tenant}", "", vec![]),
        (joint, ", algorithm: sliding_log, sharing: {slot: node}", "", vec![4]),
        (joint, ", algorithm: token_bucket, burst: 299", "", vec![4]),
        (joint, ", algorithm: token_bucket, burst: 300", "", vec![]),
        ("", log, "", vec![]),
    ] {
        let set = two(top, user, tenant);
        let found = errors(&set, true);
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            lines,
            "{top}, {user}, {tenant}: {found:?}"
        );
        assert_eq!(errors(&set, false), [], "one node has every key");
    }
    let found = errors(&two(joint, log, ""), true);
    assert!(found[0].1.contains("'d.tenant.user'") && found[0].1.contains("sharing: {slot: KEY}"), "{found:?}");
}

#[test]
fn a_reload_reports_what_has_changed() {
    let (before, after) = (loaded(&file("", "")), loaded(&file("sharing: exact", ", sharing: {slot: k, mode: local}")));
    let found = changes(&before, &after).lines;
    assert!(found.iter().any(|line| line.contains("sharing none -> exact")), "{found:?}");
    assert!(found.iter().any(|line| line.contains("sharing none -> {mode: local, slot: k}")), "{found:?}");
}
