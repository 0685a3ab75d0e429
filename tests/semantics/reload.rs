//! Reloads: the rules change at once and whole, the counters stay.

use crate::scene::{Scene, domain};

fn limit(keys: &str) -> String {
    domain(&format!("- {{key: a, rate_limit: {{{keys}}}}}"))
}

/// Spends 3 hits by one rule, then asks by another what is left.
#[track_caller]
fn left_after(before: &str, after: &str, expected: &str) {
    let scene = Scene::new(before);
    scene.run("60 x3 | d | a=v => OK");
    scene.reload(after).run(&format!("60 | d | a=v +0 => {expected}"));
}

#[test]
fn a_changed_limit_keeps_the_count() {
    let base = limit("unit: hour, requests_per_unit: 10");
    for (after, expected) in [
        ("unit: hour, requests_per_unit: 10", "OK | OK d.a 10/hour 7 3540s"),
        ("unit: hour, requests_per_unit: 20", "OK | OK d.a 20/hour 17 3540s"),
        ("unit: hour, requests_per_unit: 3", "OK | OK d.a 3/hour 0 3540s"),
        ("unit: hour, requests_per_unit: 2", "OVER_LIMIT | OVER_LIMIT d.a 2/hour 0 3540s"),
        ("unit: hour, requests_per_unit: 10, name: n", "OK | OK d.a 10/hour 7 3540s #n"),
        ("unit: hour, requests_per_unit: 10, count_denied: false", "OK | OK d.a 10/hour 7 3540s"),
        ("unit: hour, requests_per_unit: 10, ban: 1s", "OK | OK d.a 10/hour 7 3540s"),
        ("period: 60m, requests_per_unit: 10", "OK | OK d.a 10/hour 7 3540s"),
        // Another length or another way to count starts again.
        ("unit: minute, requests_per_unit: 10", "OK | OK d.a 10/minute 10 60s"),
        ("unit: day, requests_per_unit: 10", "OK | OK d.a 10/day 10 86340s"),
        ("unit: hour, requests_per_unit: 10, starts: first_request", "OK | OK d.a 10/hour 10 0s"),
        ("unit: hour, requests_per_unit: 10, algorithm: sliding_window", "OK | OK d.a 10/hour 10 0s"),
        ("unit: hour, requests_per_unit: 10, algorithm: sliding_log", "OK | OK d.a 10/hour 10 0s"),
        ("unit: hour, requests_per_unit: 10, algorithm: token_bucket", "OK | OK d.a 10/hour 10 0s"),
    ] {
        left_after(&base, &limit(after), expected);
    }
}

#[test]
fn the_place_of_a_rule_and_its_switches_do_not_matter() {
    let base = limit("unit: hour, requests_per_unit: 10");
    for after in [
        "- {key: z, rate_limit: {unit: hour, requests_per_unit: 10}}\n- {key: a, rate_limit: {unit: hour, requests_per_unit: 10}}",
        "- {key: a, value: w, rate_limit: {unit: hour, requests_per_unit: 10}}\n- {key: a, rate_limit: {unit: hour, requests_per_unit: 10}}",
        "- {key: a, quota_mode: true, detailed_metric: true, metadata: {x: y}, rate_limit: {unit: hour, requests_per_unit: 10}}",
        "- {key: a, rate_limits: [{unit: hour, requests_per_unit: 10}]}",
        "- {key: a, rate_limits: [{unit: day, requests_per_unit: 1000}, {unit: hour, requests_per_unit: 10}]}",
    ] {
        left_after(&base, &domain(after), "OK | OK d.a 10/hour 7 3540s");
    }
}

#[test]
fn another_rule_is_another_counter() {
    let base = limit("unit: hour, requests_per_unit: 10");
    for (after, expected) in [
        ("- {key: a, value: v, rate_limit: {unit: hour, requests_per_unit: 10}}", "OK | OK d.a_v 10/hour 10 3540s"),
        ("- {key: a, value: 'v*', rate_limit: {unit: hour, requests_per_unit: 10}}", "OK | OK d.a_v* 10/hour 10 3540s"),
        ("- {key: b, rate_limit: {unit: hour, requests_per_unit: 10}}", "OK | OK -"),
    ] {
        left_after(&base, &domain(after), expected);
    }
}

#[test]
fn a_rule_that_comes_back_finds_its_counters() {
    let base = limit("unit: hour, requests_per_unit: 10");
    let scene = Scene::new(&base);
    scene.run("0 x3 | d | a=v => OK");
    scene.reload("domain: other").run("0 x3 | d | a=v => OK | OK -");
    scene.reload(&limit("unit: hour, requests_per_unit: 10, enabled: false")).run("0 x3 | d | a=v => OK | OK -");
    scene.reload(&base).run("0 | d | a=v => OK | OK d.a 10/hour 6 3600s");
}

#[test]
fn lists_keep_each_counter_whatever_their_order() {
    let (hour, day) = ("{unit: hour, requests_per_unit: 10}", "{unit: day, requests_per_unit: 12}");
    let list = |first: &str, second: &str| domain(&format!("- {{key: a, rate_limits: [{first}, {second}]}}"));
    let scene = Scene::new(&list(hour, day));
    scene.run("0 x3 | d | a=v => OK");
    scene.reload(&list(day, hour)).run("0 | d | a=v +0 => OK | OK d.a 10/hour 7 3600s");
    scene.reload(&domain("- {key: a, rate_limit: {unit: day, requests_per_unit: 12}}"));
    scene.run("0 | d | a=v +0 => OK | OK d.a 12/day 9 86400s");
}

#[test]
fn bans_outlive_a_reload_unless_they_are_taken_out() {
    let banned = limit("unit: minute, requests_per_unit: 2, ban: 1h");
    let scene = Scene::new(&banned);
    scene.run("0 x2 | d | a=v => OK\n1 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/minute 0 3599s");
    scene.reload(&limit("unit: minute, requests_per_unit: 9, ban: 1m"));
    scene.run("2 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 9/minute 0 3598s");
    scene.reload(&limit("unit: minute, requests_per_unit: 2"));
    scene.run("3 | d | a=v => OK | OK d.a 2/minute 1 57s");
}

#[test]
fn overrides_and_statistics_outlive_a_reload() {
    let scene = Scene::new(&limit("unit: hour, requests_per_unit: 10"));
    scene.run("0 x3 | d | x=v limit=5/hour; a=v => OK");
    scene.reload(&limit("unit: day, requests_per_unit: 10"));
    scene.run("0 | d | x=v limit=5/hour; a=v => OK | OK - 5/hour 1 3600s; OK d.a 10/day 9 86400s").counted(
        "d.a: checks 4, hits 4, within 4
         d.x_v: checks 4, hits 4, within 4",
    );
}

#[test]
fn a_ban_that_is_added_begins_with_a_hit_not_with_a_look() {
    let scene = Scene::new(&limit("unit: hour, requests_per_unit: 3"));
    scene.run("0 x3 | d | a=v => OK");
    scene.reload(&limit("unit: hour, requests_per_unit: 3, ban: 2h")).run(
        "0 | d | a=v +0 => OK         | OK         d.a 3/hour 0 3600s
         0 | d | a=v +0 => OK         | OK         d.a 3/hour 0 3600s
         1 | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 3/hour 0 7200s
         2 | d | a=v +0 => OVER_LIMIT | OVER_LIMIT d.a 3/hour 0 7199s",
    );
}

/// What a bucket lacks it lacks after a reload, at whatever rate and in whatever period.
#[test]
fn a_bucket_keeps_its_missing_hits() {
    let bucket = |keys: &str| limit(&format!("algorithm: token_bucket, {keys}"));
    for (before, spent, after, expected) in [
        // Raised: 60 missing hits come back in a second, not in an hour.
        (
            "unit: minute, requests_per_unit: 1, burst: 60",
            60,
            "unit: second, requests_per_unit: 60, burst: 60",
            "OK | OK d.a 60/second 0 1s",
        ),
        (
            "unit: minute, requests_per_unit: 1, burst: 60",
            15,
            "unit: second, requests_per_unit: 60, burst: 60",
            "OK | OK d.a 60/second 45 250ms",
        ),
        // Lowered: they are not given away.
        ("unit: second, requests_per_unit: 60", 60, "unit: hour, requests_per_unit: 60", "OK | OK d.a 60/hour 0 3600s"),
        (
            "unit: second, requests_per_unit: 60",
            7,
            "unit: minute, requests_per_unit: 3, burst: 60",
            "OK | OK d.a 3/minute 53 140s",
        ),
        // A rate that no state can hold exactly.
        (
            "unit: second, requests_per_unit: 3, burst: 100",
            100,
            "unit: second, requests_per_unit: 7, burst: 100",
            "OK | OK d.a 7/second 0 14286ms",
        ),
        (
            "unit: second, requests_per_unit: 7, burst: 100",
            99,
            "unit: second, requests_per_unit: 3, burst: 100",
            "OK | OK d.a 3/second 1 33s",
        ),
        // Another burst: more room, or none, but the same hits missing.
        (
            "unit: minute, requests_per_unit: 60, burst: 10",
            6,
            "unit: minute, requests_per_unit: 60, burst: 15",
            "OK | OK d.a 60/minute 9 6s",
        ),
        (
            "unit: minute, requests_per_unit: 60, burst: 10",
            6,
            "unit: minute, requests_per_unit: 60, burst: 4",
            "OVER_LIMIT | OVER_LIMIT d.a 60/minute 0 2s",
        ),
        // Those in a queue are missing as well.
        (
            "unit: minute, requests_per_unit: 60, burst: 2, queue: {size: 4, mode: advise}",
            6,
            "unit: second, requests_per_unit: 2, burst: 2, queue: {size: 4, mode: advise}",
            "OK | OK d.a 2/second 0 3s",
        ),
    ] {
        let scene = Scene::new(&bucket(before));
        assert_eq!(scene.admitted(&format!("60 x{spent} | d | a=v => OK")), spent, "{before}");
        scene.reload(&bucket(after)).run(&format!("60 | d | a=v +0 => {expected}"));
    }
}

/// Nobody asks a bucket between a reload and the time at which it would have been full: it fills at its new rate.
#[test]
fn a_bucket_that_nobody_asks_fills_at_its_new_rate() {
    let bucket = |keys: &str| limit(&format!("algorithm: token_bucket, {keys}"));
    let scene = Scene::new(&bucket("unit: second, requests_per_unit: 10"));
    scene.run("60 x10 | d | a=v => OK");
    scene.reload(&bucket("unit: hour, requests_per_unit: 10")).run(
        "61 | d | a=v +0 => OK | OK d.a 10/hour 0 3599s
         62 | d | a=v    => OVER_LIMIT",
    );
}

#[test]
fn a_ban_of_a_bucket_outlives_a_change_of_its_rate() {
    let scene = Scene::new(&limit(
        "algorithm: token_bucket, unit: second, requests_per_unit: 1, ban: {for: 1m, when: exceeded}",
    ));
    scene.run("0 | d | a=v => OK\n0 | d | a=v => OVER_LIMIT");
    scene.reload(&limit("algorithm: token_bucket, unit: minute, requests_per_unit: 9, ban: {for: 1h, when: exceeded}"));
    scene.run(
        "1 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 9/minute 0 59s\n60 | d | a=v => OK | OK d.a 9/minute 8 6667ms",
    );
}

/// Of several buckets the one with the longest period stays itself.
#[test]
fn buckets_of_a_list_keep_their_missing_hits_whatever_their_order() {
    let (fast, slow) = (
        "{period: 1s, requests_per_unit: 10, algorithm: token_bucket}",
        "{unit: day, requests_per_unit: 20, algorithm: token_bucket}",
    );
    let list = |limits: &str| domain(&format!("- {{key: a, rate_limits: [{limits}]}}"));
    let scene = Scene::new(&list(slow));
    scene.run("0 | d | a=v +15 => OK");
    for limits in [format!("{fast}, {slow}"), format!("{slow}, {fast}")] {
        scene.reload(&list(&limits)).run("0 | d | a=v +0 => OK | OK d.a 20/day 5 64800s");
    }
}
