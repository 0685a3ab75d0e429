//! Explanations of descriptors, as tables: the steps, where matching ended and why, and the rules that are near.

use std::borrow::Cow;

use super::*;
use crate::rules::{How, LoadOptions, RuleSet, SourceFile, load};

/// The rules of domain `d` with these descriptors; `R` is short for a limit.
fn rules(descriptors: &str) -> RuleSet {
    let descriptors = descriptors.replace(" R", " rate_limit: {unit: day, requests_per_unit: 1}");
    let text = format!("domain: d\ndescriptors: {descriptors}").into_bytes();
    let file = SourceFile { name: "f".to_owned(), text };
    load(&[file], LoadOptions::default()).unwrap_or_else(|errors| panic!("{descriptors}\n{errors:#?}"))
}

/// The entries of a row `key=value key=value`.
fn entries(row: &str) -> Vec<Entry<'_>> {
    let pairs = row.split_whitespace().filter_map(|entry| entry.split_once('='));
    pairs.map(|(key, value)| Entry { key: Cow::Borrowed(key), value: Cow::Borrowed(value) }).collect()
}

fn explain<'r>(set: &'r RuleSet, row: &str) -> Explanation<'r> {
    let domain = set.domain("d").unwrap();
    let explanation = domain.explain(set.rules(), &entries(row));
    let found = domain.find(set.rules(), &entries(row)).map(|found| found.rule.index);
    assert_eq!(explanation.rule.map(|rule| rule.index), found, "{row}");
    assert_eq!(explanation.rule.is_none(), explanation.ended.is_some(), "{row}");
    explanation
}

const PARTNERS: &str = "[
  {key: partner, R},
  {key: partner, value: acme, descriptors: [{key: endpoint, R}, {key: region, value: eu, R}]},
  {key: partner, value: free},
  {key: path, value: '/v1/*', R, descriptors: [{key: method, value: GET, R}, {key: method, value: PUT, R}]},
  {key: user, descriptors: [{key: tenant, R}]},
]";

#[test]
fn each_step_shows_what_was_matched_and_how() {
    let set = rules(PARTNERS);
    for (row, expected) in [
        ("partner=beta", &[("partner", How::Default)][..]),
        ("partner=acme", &[("partner_acme", How::Exact)]),
        ("partner=acme endpoint=/pay", &[("partner_acme", How::Exact), ("endpoint", How::Default)]),
        ("path=/v1/pay method=GET", &[("path_/v1/*", How::Pattern), ("method_GET", How::Exact)]),
        ("path=/v1/pay method=POST", &[("path_/v1/*", How::Pattern), ("", How::Nothing)]),
        ("Partner=acme endpoint=/pay", &[("", How::Nothing)]),
        ("", &[]),
    ] {
        let steps = explain(&set, row).steps;
        let steps: Vec<_> = steps.iter().map(|step| (&*step.text, step.how)).collect();
        assert_eq!(steps, expected, "{row}");
    }
}

#[test]
fn where_and_why_matching_ended() {
    let set = rules(PARTNERS);
    for (row, expected) in [
        ("", "the descriptor has no entries"),
        (
            "Partner=acme",
            "nothing matches entry 1, 'Partner=acme': the configured keys in the domain are partner, path, user",
        ),
        (
            "partner=acme endpont=/pay",
            "nothing matches entry 2, 'endpont=/pay': the configured keys below 'partner_acme' are endpoint, region",
        ),
        (
            "partner=acme region=us",
            "nothing matches entry 2, 'region=us': the configured values of 'region' below 'partner_acme' are eu",
        ),
        (
            "path=/v1/x method=PUTS",
            "nothing matches entry 2, 'method=PUTS': the configured values of 'method' below 'path_/v1/*' are PUT, GET",
        ),
        (
            "partner=beta endpoint=/pay",
            "the descriptor is deeper than the configuration at 'partner' (1 entry is left)",
        ),
        (
            "partner=acme endpoint=/pay a=1 b=2",
            "the descriptor is deeper than the configuration at 'partner_acme.endpoint' (2 entries are left)",
        ),
        ("user=u1", "'user' has no limit of its own, its entries go on deeper (the levels below are tenant)"),
        (
            "partner=free",
            "'partner_free' has no limit of its own, and the entry does not fall back to 'partner', because what is \
             found first is final",
        ),
        (
            "partner=acme",
            "'partner_acme' has no limit of its own, its entries go on deeper (the levels below are endpoint, region), \
             and the entry does not fall back to 'partner', because what is found first is final",
        ),
    ] {
        assert_eq!(explain(&set, row).ended.unwrap().to_string(), expected, "{row}");
    }
    let empty = rules("[]");
    assert_eq!(explain(&empty, "a=1").ended, Some(Ended::NoRules));
}

#[test]
fn a_pattern_may_hide_the_default_or_be_hidden() {
    for (descriptors, row, hidden) in [
        ("[{key: k, R}, {key: k, value: 'a*'}]", "k=ab", Some("k")),
        ("[{key: k, R}, {key: k, value: 'a*', R}, {key: k, value: ab}]", "k=ab", Some("k_a*")),
        ("[{key: k, R}, {key: k, value: 'a*'}, {key: k, value: ab}]", "k=ab", Some("k")),
        ("[{key: k}, {key: k, value: ab}]", "k=ab", None),
        ("[{key: x, descriptors: [{key: k, R}, {key: k, value: ab}]}]", "x=1 k=ab", Some("x.k")),
    ] {
        let set = rules(descriptors);
        let Some(Ended::NoLimit { instead_of, .. }) = explain(&set, row).ended else { panic!("{row}") };
        assert_eq!(instead_of.as_deref(), hidden, "{descriptors}");
    }
}

#[test]
fn rules_that_nearly_match_come_with_the_reason() {
    let set = rules(PARTNERS);
    for (row, expected) in [
        (
            "partner=acme",
            &[
                ("d.partner", "'partner_acme' comes first, and what is found first is final"),
                ("d.partner_acme.endpoint", "needs also endpoint"),
                ("d.partner_acme.region_eu", "needs also region=eu"),
            ][..],
        ),
        ("tenant=t user=u", &[("d.user.tenant", "needs the order user, tenant")]),
        ("Partner=beta", &[("d.partner", "needs the key 'partner', not 'Partner'")]),
        ("partner=beta color=red", &[("d.partner", "has only partner, the descriptor also has color")]),
        (
            "partner=acm endpoint=/pay",
            &[
                ("d.partner_acme.endpoint", "needs 'partner=acme', not 'partner=acm'"),
                ("d.partner", "has only partner, the descriptor also has endpoint"),
            ],
        ),
        ("path=/v2/x", &[("d.path_/v1/*", "needs 'path=/v1/*', not 'path=/v2/x'")]),
        // Of a rule that was found, only what the same entries could have reached.
        ("path=/v1/x method=GET", &[("d.path_/v1/*", "has only path=/v1/*, the descriptor also has method")]),
        (
            "",
            &[
                ("d.partner", "needs also partner"),
                ("d.path_/v1/*", "needs also path=/v1/*"),
                ("d.partner_acme.endpoint", "needs also partner=acme, endpoint"),
                ("d.partner_acme.region_eu", "needs also partner=acme, region=eu"),
                ("d.path_/v1/*.method_GET", "needs also path=/v1/*, method=GET"),
            ],
        ),
        // Value by value: the nearest, before a rule with fewer levels.
        (
            "path=/v1/x method=GETS",
            &[
                ("d.path_/v1/*.method_GET", "needs 'method=GET', not 'method=GETS'"),
                ("d.path_/v1/*", "has only path=/v1/*, the descriptor also has method"),
                ("d.path_/v1/*.method_PUT", "needs 'method=PUT', not 'method=GETS'"),
            ],
        ),
        ("a=1 b=2 c=3 d=4 e=5 f=6", &[]),
    ] {
        let explanation = explain(&set, row);
        let misses = explanation.near_misses.iter();
        let misses: Vec<_> = misses.map(|miss| (miss.rule.path.clone(), miss.reason.to_string())).collect();
        let misses: Vec<_> = misses.iter().map(|(path, reason)| (&**path, &**reason)).collect();
        assert_eq!(misses, expected, "{row}");
    }
}

#[test]
fn of_many_rules_the_nearest_are_listed() {
    let values: Vec<_> = (0..10_000).map(|n| format!("{{key: partner, value: p{n}, R}}")).collect();
    let set = rules(&format!("[{}]", values.join(", ")));
    let explanation = explain(&set, "partner=p123x");
    assert_eq!(explanation.near_misses.len(), 5);
    assert_eq!(explanation.near_misses[0].rule.path, "d.partner_p123");
    let Some(Ended::NoMatch { configured, .. }) = explanation.ended else { panic!("it matches") };
    assert_eq!((configured.texts[0].as_str(), configured.texts.len(), configured.more), ("p123", 5, 9_995));
}

#[test]
fn long_and_hostile_texts_are_cut_and_escaped() {
    let set = rules("[{key: k, value: 'a*b*c', R}, {key: '*x*', R}]");
    let long = "b".repeat(1 << 20);
    assert!(explain(&set, &format!("k={long}")).near_misses.is_empty(), "no pattern is compared with it");
    for row in [format!("k={long}"), format!("{long}={long}"), "k=\u{1b}[31m".to_owned()] {
        let ended = explain(&set, &row).ended.unwrap().to_string();
        assert!(ended.len() < 1_000, "{} bytes", ended.len());
        assert!(!ended.contains('\u{1b}'), "{ended}");
        let reasons = explain(&set, &row).near_misses.iter().map(|miss| miss.reason.to_string().len()).sum::<usize>();
        assert!(reasons < 1_000, "{reasons} bytes");
    }
}
