//! What docs/RULES.md says of counters when the rules change.

use super::run::{Run, rules_with};

#[test]
fn counters_are_held_against_new_numbers() {
    const CLOCK: &str = "unit: minute, requests_per_unit: 10";
    const BUCKET: &str = "unit: minute, requests_per_unit: 60, algorithm: token_bucket, burst: 10";
    // Six hits at 3 s by the first limit; what is left at 3 s by the second.
    for (before, after, remaining) in [
        (CLOCK, "unit: minute, requests_per_unit: 20", 14),
        (CLOCK, "unit: minute, requests_per_unit: 4", 0),
        (CLOCK, "period: 60s, requests_per_unit: 10", 4),
        (CLOCK, "unit: minute, requests_per_unit: 10, ban: 5s, name: n, count_denied: false", 4),
        (CLOCK, "unit: hour, requests_per_unit: 10", 10),
        (CLOCK, "unit: minute, requests_per_unit: 10, starts: first_request", 10),
        (CLOCK, "unit: minute, requests_per_unit: 10, algorithm: sliding_window", 10),
        (BUCKET, "unit: minute, requests_per_unit: 60, algorithm: token_bucket, burst: 15", 9),
        (BUCKET, "unit: minute, requests_per_unit: 60, algorithm: token_bucket, burst: 10, queue: 5", 4),
        (BUCKET, "unit: minute, requests_per_unit: 120, algorithm: token_bucket, burst: 20", 14),
        (BUCKET, "unit: minute, requests_per_unit: 30, algorithm: token_bucket, burst: 10", 4),
        (BUCKET, "unit: hour, requests_per_unit: 60, algorithm: token_bucket, burst: 10", 4),
    ] {
        let run = Run::limited(before);
        assert!(run.hits("3", 6).is_ok());
        run.reload(&rules_with(after));
        assert_eq!(run.hits("3", 0).remaining(), [remaining], "{before} -> {after}");
        run.reload(&rules_with(before));
        assert_eq!(run.hits("3", 0).remaining(), [4], "{before}, taken back");
    }
}

#[test]
fn a_rule_that_comes_back_finds_its_counter_until_it_is_spent() {
    let run = Run::limited("unit: minute, requests_per_unit: 10");
    assert!(run.hits("3", 6).is_ok());
    run.reload("domain: api\ndescriptors: []\n");
    assert_eq!(run.hits("4", 1).rules(), ["none"]);
    run.reload(&rules_with("unit: minute, requests_per_unit: 10"));
    assert_eq!(run.hits("5", 0).remaining(), [4]);
    assert_eq!(run.hits("60", 0).remaining(), [10]);
}

#[test]
fn bans_end_when_they_were_to_end_or_with_the_key() {
    let run = Run::limited("unit: minute, requests_per_unit: 2, ban: 30s");
    assert!(run.hits("3", 2).is_ok());
    run.reload(&rules_with("unit: minute, requests_per_unit: 100, ban: 5s"));
    assert_eq!(run.hits("13", 1).reset_ms(), 20_000);
    run.reload(&rules_with("unit: minute, requests_per_unit: 100"));
    assert_eq!(run.hits("14", 1).remaining(), [99]);
}

#[test]
fn the_order_of_limits_does_not_matter() {
    let rules = |limits: &str| format!("domain: api\ndescriptors:\n- key: k\n  rate_limits: [{limits}]\n");
    let (second, day) = ("{period: 1s, requests_per_unit: 100}", "{unit: day, requests_per_unit: 10}");
    let run = Run::new(&rules(&format!("{second}, {day}")));
    assert!(run.hits("0", 6).is_ok());
    run.reload(&rules(&format!("{day}, {second}")));
    assert_eq!(run.hits("0.5", 0).remaining(), [4]);
    run.reload(&rules(day));
    assert_eq!(run.hits("0.5", 0).remaining(), [4]);
}
