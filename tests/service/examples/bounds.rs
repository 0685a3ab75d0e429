//! The worst cases that docs/ALGORITHMS.md tells, each brought about.

use serde_json::json;

use super::run::{Answer, Run};

/// Seconds as decimal text, from nanoseconds.
fn text(ns: u64) -> String {
    format!("{}.{:09}", ns / SECOND, ns % SECOND)
}

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

#[test]
fn a_window_on_the_clock_lets_twice_the_limit_pass_in_an_instant() {
    let run = Run::limited("unit: minute, requests_per_unit: 100");
    assert!(run.hits("59.999999999", 100).is_ok());
    assert!(run.hits("60", 100).is_ok());
    assert!(!run.hits("60", 1).is_ok());
}

#[test]
fn a_window_from_the_first_request_lets_twice_the_limit_less_one_pass_in_an_instant() {
    let run = Run::limited("unit: minute, requests_per_unit: 100, starts: first_request");
    assert!(run.hits("7", 1).is_ok());
    assert!(run.hits("66.999999999", 99).is_ok());
    assert!(!run.hits("66.999999999", 1).is_ok());
    assert!(run.hits("67", 100).is_ok());
}

#[test]
fn a_sliding_window_lets_at_most_twice_the_limit_less_one_pass_in_its_length() {
    let run = Run::limited("unit: minute, requests_per_unit: 100, algorithm: sliding_window");
    let begun = MINUTE - 1;
    assert!(run.hits(&text(begun), 100).is_ok());
    let mut passed = 100;
    for i in 1..100 {
        // The i-th hit fits when i hundredths of the minute have faded, and not before.
        let fits = MINUTE + i * MINUTE / 100;
        assert!(!run.hits(&text(fits - 1), 1).is_ok(), "hit {i}");
        assert!(run.hits(&text(fits), 1).is_ok(), "hit {i}");
        passed += 1;
        assert!(fits - begun < MINUTE);
    }
    assert_eq!(passed, 199);
    assert!(!run.hits(&text(begun + MINUTE - 1), 1).is_ok());
}

#[test]
fn in_a_tenth_of_the_next_window_a_sliding_window_lets_a_tenth_of_the_limit_pass() {
    let run = Run::limited("unit: minute, requests_per_unit: 100, algorithm: sliding_window");
    assert!(run.hits("59.999999999", 100).is_ok());
    assert!(!run.hits("60", 1).is_ok());
    assert!(!run.hits("66", 11).is_ok());
    assert!(run.hits("66", 10).is_ok());
}

#[test]
fn a_sliding_window_denies_n_hits_for_the_nth_share_of_a_window_too_long() {
    for hits in [1, 50, 100] {
        let run = Run::limited("unit: minute, requests_per_unit: 100, algorithm: sliding_window");
        assert!(run.hits("60", 100).is_ok());
        // By the definition they would fit at 120 s.
        let fits = 2 * MINUTE + hits * MINUTE / 100;
        assert!(!run.hits(&text(fits - 1), hits).is_ok(), "{hits}");
        assert!(run.hits(&text(fits), hits).is_ok(), "{hits}");
    }
}

#[test]
fn a_sliding_log_is_exact() {
    let run = Run::limited("unit: minute, requests_per_unit: 100, algorithm: sliding_log");
    assert!(run.hits("7.5", 60).is_ok());
    assert!(run.hits("30", 40).is_ok());
    for (at, hits, fits) in [("67.499999999", 1, false), ("67.5", 61, false), ("67.5", 60, true), ("67.5", 1, false)] {
        assert_eq!(run.hits(at, hits).is_ok(), fits, "{hits} at {at}");
    }
}

#[test]
fn a_bucket_admits_burst_and_queue_and_then_its_rate() {
    let run = Run::limited("period: 10s, requests_per_unit: 20, algorithm: token_bucket, burst: 10, queue: 15");
    let answers: Vec<_> = (0..26).map(|_| run.hits("100", 1)).collect();
    let at_once = answers.iter().filter(|answer| answer.is_ok() && answer.delay_ms() == 0).count();
    let delays: Vec<_> = answers.iter().map(Answer::delay_ms).filter(|delay| *delay > 0).collect();
    assert_eq!((at_once, delays), (10, (1..=15).map(|i| i * 500).collect()));
    let later = (1..=100).filter(|tenth| run.hits(&text(100 * SECOND + tenth * SECOND / 10), 1).is_ok()).count();
    assert_eq!(later, 20, "one each half a second");
}

#[test]
fn a_bucket_is_never_more_than_full() {
    for idle in ["101", "110", "100000"] {
        let run = Run::limited("period: 10s, requests_per_unit: 20, algorithm: token_bucket, burst: 10");
        assert!(run.hits("90", 10).is_ok());
        let after: Vec<_> = (0..11).map(|_| run.hits(idle, 1).is_ok()).collect();
        assert_eq!(after, [[true; 10].as_slice(), &[false]].concat(), "{idle}");
    }
}

#[test]
fn a_ban_is_not_extended_and_leaves_a_fresh_counter() {
    for (limit, begins) in [
        ("unit: minute, requests_per_unit: 3, ban: 5s", 3),
        ("unit: minute, requests_per_unit: 3, algorithm: sliding_window, ban: 5s", 3),
        ("unit: minute, requests_per_unit: 3, algorithm: sliding_log, ban: 5s", 3),
        ("unit: minute, requests_per_unit: 3, ban: {for: 5s, when: exceeded}", 4),
        ("unit: minute, requests_per_unit: 3, algorithm: token_bucket, ban: {for: 5s, when: exceeded}", 4),
    ] {
        let run = Run::limited(limit);
        for i in 1..=begins {
            assert_eq!(run.hits("1", 1).is_ok(), i <= 3, "{limit}: hit {i}");
        }
        assert!(!run.hits("1", 0).is_ok(), "{limit}: a look during the ban");
        let denied = run.hits("4.25", 1);
        assert_eq!((denied.is_ok(), denied.reset_ms()), (false, 1_750), "{limit}");
        assert!(!run.hits("5.999999999", 1).is_ok(), "{limit}");
        assert_eq!(run.hits("6", 1).remaining(), [2], "{limit}");
    }
}

#[test]
fn count_denied_starves_who_does_not_pause() {
    for (algorithm, pause) in [("sliding_log", "61"), ("token_bucket", "80"), ("sliding_window", "121")] {
        for (count_denied, later) in [(false, true), (true, false)] {
            let run = Run::limited(&format!(
                "unit: minute, requests_per_unit: 3, algorithm: {algorithm}, count_denied: {count_denied}"
            ));
            assert!(run.hits("1", 3).is_ok());
            let calls: Vec<_> = (2..600).map(|at| run.hits(&at.to_string(), 1).is_ok()).collect();
            assert_eq!(calls.contains(&true), later, "{algorithm}, count_denied: {count_denied}");
            let after = 599.0 + pause.parse::<f64>().unwrap();
            assert!(run.hits(&after.to_string(), 1).is_ok(), "{algorithm}: a pause of {pause} s is enough");
        }
    }
}

#[test]
fn what_is_denied_all_or_nothing_leaves_nothing_but_the_ban_of_who_denied() {
    let run = Run::new(
        "domain: api\ncharge: all_or_nothing\ndescriptors:\n\
         - {key: user, rate_limit: {unit: minute, requests_per_unit: 5, ban: 9s}}\n\
         - {key: tenant, rate_limit: {unit: minute, requests_per_unit: 8, algorithm: sliding_log}}\n\
         - {key: node, rate_limit: {unit: minute, requests_per_unit: 6, ban: {for: 7s, when: exceeded}}}\n",
    );
    let check = |at: u64, hits: [u64; 3]| {
        let descriptor = |(key, hits)| json!({"entries": [[key, "x"]], "hits": hits});
        let descriptors: Vec<_> = ["user", "tenant", "node"].into_iter().zip(hits).map(descriptor).collect();
        run.check(&json!({"at": at, "domain": "api", "descriptors": descriptors}))
    };
    for (at, hits, codes, remaining) in [
        (1, [4, 4, 4], ["OK"; 3], [1, 4, 2]),
        // The user would be at its limit, which would begin its ban.
        (1, [1, 5, 1], ["OK", "OVER_LIMIT", "OK"], [1, 4, 2]),
        (1, [0, 0, 0], ["OK"; 3], [1, 4, 2]),
        (2, [1, 1, 3], ["OK", "OK", "OVER_LIMIT"], [1, 4, 0]),
        (8, [0, 0, 0], ["OK", "OK", "OVER_LIMIT"], [1, 4, 0]),
        (9, [0, 0, 0], ["OK"; 3], [1, 4, 6]),
    ] {
        let answer = check(at, hits);
        assert_eq!((answer.codes(), answer.remaining()), (codes.to_vec(), remaining.to_vec()), "{hits:?} at {at}");
    }
}

#[test]
fn several_limits_of_a_rule_are_charged_together_or_not_at_all() {
    let run = Run::new(
        "domain: api\ndescriptors:\n- key: k\n  rate_limits:\n\
         \x20 - {period: 1s, requests_per_unit: 10}\n\
         \x20 - {period: 1d, requests_per_unit: 15}\n",
    );
    for (at, hits, passes, remaining) in
        [("0", 10, true, 0), ("0.5", 1, false, 0), ("1", 6, false, 5), ("1", 5, true, 0), ("2", 1, false, 0)]
    {
        let answer = run.hits(at, hits);
        assert_eq!((answer.is_ok(), answer.remaining()), (passes, vec![remaining]), "{hits} at {at}");
    }
}
