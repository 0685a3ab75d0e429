//! `dynamic_metadata`: what was asked, and the metadata of the rules that let it pass.

use serde_json::{Value, json};

use crate::scene::{Scene, domain};

const RULES: &str = "
- {key: a, rate_limit: {unit: hour, requests_per_unit: 9}, metadata: {who: a, deep: {x: 1, list: [1, two, true, null]}}}
- {key: b, rate_limit: {unit: hour, requests_per_unit: 9}, metadata: {who: b, more: 1.5, deep: {x: 2, z: {k: v}}}}
- {key: zero, rate_limit: {unit: hour, requests_per_unit: 0}, metadata: {denied: true}}
- {key: shadow, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 0}, metadata: {shadow: true}}
- {key: u, rate_limit: {unlimited: true}, metadata: {unlimited: true}}
- {key: off, rate_limit: {unit: hour, requests_per_unit: 0, enabled: false}, metadata: {off: true}}
- {key: detailed, detailed_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}, metadata: {kept: detailed}}
- {key: valued, value_to_metric: true, rate_limit: {unit: hour, requests_per_unit: 9}, metadata: {kept: valued}}
- {key: 'wild*', rate_limit: {unit: hour, requests_per_unit: 9}, metadata: {kept: wild}}
- {key: gone, rate_limit: {name: gone, unit: hour, requests_per_unit: 9}, metadata: {gone: true}}
- {key: r, rate_limit: {unlimited: true, replaces: [{name: gone}]}}";

fn of(descriptors: &str) -> Value {
    Scene::new(&domain(RULES)).metadata(&format!("0 | {descriptors} => OK"))
}

#[test]
fn metadata_of_what_passed_is_merged() {
    let cases = [
        ("a=1", json!({"who": "a", "deep": {"x": 1.0, "list": [1.0, "two", true, null]}})),
        // The first value wins, maps are merged.
        (
            "a=1; b=2",
            json!({"who": "a", "more": 1.5, "deep": {"x": 1.0, "list": [1.0, "two", true, null], "z": {"k": "v"}}}),
        ),
        (
            "b=2; a=1",
            json!({"who": "b", "more": 1.5, "deep": {"x": 2.0, "list": [1.0, "two", true, null], "z": {"k": "v"}}}),
        ),
        ("zero=1", Value::Null),
        // What limits nothing has no part in it.
        ("u=1", Value::Null),
        ("off=1", Value::Null),
        ("zero=1; u=1", Value::Null),
        ("u=1; a=1", json!({"who": "a", "deep": {"x": 1.0, "list": [1.0, "two", true, null]}})),
        ("shadow=1", json!({"shadow": true})),
        ("a=1 limit=9/hour", Value::Null),
        ("none=1", Value::Null),
        ("detailed=1", json!({"kept": "detailed"})),
        ("valued=1", json!({"kept": "valued"})),
        ("wilder=1", json!({"kept": "wild"})),
        ("gone=1", json!({"gone": true})),
        ("gone=1; r=1", Value::Null),
    ];
    for (descriptors, expected) in cases {
        assert_eq!(of(&format!("d | {descriptors}"))["metadata"], expected, "{descriptors}");
    }
}

#[test]
fn the_request_is_reported_as_the_reference_tells_it() {
    let cases = [
        ("d | a=1,b=2", json!({"domain": "d", "descriptors": [{"entries": ["a=1", "b=2"]}]})),
        (
            "d +3 | x=; ()",
            json!({"domain": "d", "descriptors": [{"entries": ["x="]}, {"entries": []}], "hitsAddend": 3.0}),
        ),
        ("x | a=1 +0", json!({"domain": "x", "descriptors": [{"entries": ["a=1"], "hitsAddend": 0.0}]})),
        (
            "d | x=1 limit=5/minute",
            json!({"domain": "d", "descriptors": [{"entries": ["x=1"], "limit": "requests_per_unit:5 unit:MINUTE"}]}),
        ),
        (
            "d | x=1 limit=5/week",
            json!({"domain": "d", "descriptors": [{"entries": ["x=1"], "limit": "requests_per_unit:5 unit:7"}]}),
        ),
        (
            "d | x=1 limit=0/2week",
            json!({"domain": "d", "descriptors": [{"entries": ["x=1"], "limit": "unit:7 unit_multiplier:{value:2}"}]}),
        ),
    ];
    for (asked, expected) in cases {
        assert_eq!(of(asked), expected, "{asked}");
    }
}
