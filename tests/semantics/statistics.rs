//! How hits are split into within, near and over: the reference's partition, number by number.

use crate::scene::{Scene, domain};

/// The hits that count before a check of so many hits, and what it adds to the statistics, at a limit of 10 (near: 8).
#[test]
fn a_check_adds_to_within_near_and_over() {
    let cases = [
        (0, 5, "within 5"),
        (0, 8, "within 8"),
        (0, 9, "near 1, within 9"),
        (0, 10, "near 2, within 10"),
        (7, 1, "within 1"),
        (7, 3, "near 2, within 3"),
        (8, 1, "near 1, within 1"),
        (9, 1, "near 1, within 1"),
        // Over: what lies beyond the limit, and what was near it.
        (0, 11, "over 1, near 2, denied 1"),
        (5, 10, "over 5, near 2, denied 1"),
        (9, 5, "over 4, near 1, denied 1"),
        (10, 1, "over 1, denied 1"),
        (10, 7, "over 7, denied 1"),
        (12, 7, "over 7, denied 1"),
    ];
    for (before, hits, expected) in cases {
        let rule = |shadow| {
            domain(&format!("- {{key: a, shadow_mode: {shadow}, rate_limit: {{unit: hour, requests_per_unit: 10}}}}"))
        };
        let asked = format!("0 | d | a=v +{hits} => {}", if expected.contains("over") { "OVER_LIMIT" } else { "OK" });
        let scene = Scene::new(&rule(false));
        scene.run(&format!("0 | d | a=v +{before} => {}", if before > 10 { "OVER_LIMIT" } else { "OK" }));
        assert_eq!(scene.run_and_diff(&asked), format!("checks 1, hits {hits}, {expected}"), "{before} + {hits}");
        // In shadow mode the same, and what is over is shadow too.
        let scene = Scene::new(&rule(true));
        scene.run(&format!("0 | d | a=v +{before} => OK"));
        let over = expected.strip_suffix(", denied 1").and_then(|text| text.split(", ").next()?.strip_prefix("over "));
        let expected = over.map_or(expected.to_owned(), |over| expected.replace("denied 1", &format!("shadow {over}")));
        let reported = scene.run_and_diff(&format!("0 | d | a=v +{hits} => OK"));
        assert_eq!(reported, format!("checks 1, hits {hits}, {expected}"), "shadow, {before} + {hits}");
    }
}

#[test]
fn near_begins_at_80_percent_in_single_precision() {
    // floor(f32(limit) * f32(0.8)), as the reference computes it.
    let cases =
        [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 4), (10, 8), (11, 8), (1000, 800), (16_777_217, 13_421_773)];
    for (limit, near) in cases {
        let config = domain(&format!("- {{key: a, rate_limit: {{unit: hour, requests_per_unit: {limit}}}}}"));
        let within = |hits: u64| if hits > 0 { format!(", within {hits}") } else { String::new() };
        let scene = Scene::new(&config);
        assert_eq!(
            scene.run_and_diff(&format!("0 | d | a=v +{near} => OK")),
            format!("checks 1{}{}", if near > 0 { format!(", hits {near}") } else { String::new() }, within(near)),
            "{limit}"
        );
        assert_eq!(scene.run_and_diff("0 | d | a=v => OK"), "checks 1, hits 1, near 1, within 1", "{limit}");
    }
}

#[test]
fn looks_refunds_and_what_has_no_limit() {
    let config = domain(
        "
- {key: a, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: u, rate_limit: {unlimited: true}}",
    );
    Scene::new(&config)
        .run(
            "0 | d +6 | a=v        => OK
             0 | d    | a=v +0     => OK
             0 | d +2 | a=v refund => OK
             0 | d +4 | u=v        => OK
             0 | d +2 | u=v refund => OK
             0 | d    | none=v     => OK",
        )
        .counted(
            "d.a: checks 2, hits 6, within 6, refunded 2
             d.u: checks 1, hits 4, within 4, refunded 2",
        );
}

#[test]
fn queues_and_bans_are_counted() {
    let config = domain(
        "
- {key: q, rate_limit: {unit: hour, requests_per_unit: 10, burst: 10, algorithm: token_bucket, queue: 5}}
- {key: b, rate_limit: {unit: second, requests_per_unit: 2, ban: 10s}}",
    );
    Scene::new(&config)
        .run(
            "0   x10 | d | q=v    => OK
             0       | d | q=v    => OK hold=360s
             0       | d | q=v +4 => OK hold=1800s
             0       | d | q=v    => OVER_LIMIT
             0    x2 | d | b=v    => OK
             0.5  x3 | d | b=v    => OVER_LIMIT
             9.9     | d | b=v    => OVER_LIMIT",
        )
        .counted(
            "d.b: checks 6, hits 6, over 4, near 1, within 2, denied 4, banned 4
             d.q: checks 13, hits 16, over 1, near 7, within 15, denied 1, queued 2",
        );
}

#[test]
fn domains_that_are_not_configured() {
    let scene = Scene::new(&domain("- {key: a, rate_limit: {unit: hour, requests_per_unit: 10}}"));
    scene.run("0 x3 | x | a=v; a=w => OK | OK -; OK -\n0 | y | a=v => OK").counted("");
    let unknown = scene.limiter().usage().unknown_domains();
    assert_eq!(unknown, [("x".to_owned(), 6), ("y".to_owned(), 1)]);
}
