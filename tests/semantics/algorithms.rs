//! Sliding log, sliding window and token bucket.

use crate::scene::{Scene, check, domain};
use crate::script::time_text;

fn limit(keys: &str) -> String {
    domain(&format!("- {{key: a, rate_limit: {{{keys}}}}}"))
}

/// The contract's worked example: 500 per 60 s.
#[test]
fn sliding_log() {
    check(
        &limit("period: 60s, requests_per_unit: 500, algorithm: sliding_log"),
        "10 x499      | d | a=v => OK
         20           | d | a=v => OK         | OK         d.a 500/minute 0 50s
         30 x100      | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 500/minute 0 40s
         69.999999999 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 500/minute 0 1ms
         # The oldest are 60 s old.
         70           | d | a=v => OK         | OK d.a 500/minute 498 10s
         80           | d | a=v => OK         | OK d.a 500/minute 498 50s",
    );
}

#[test]
fn sliding_log_of_many_hits_at_once() {
    check(
        &limit("unit: minute, requests_per_unit: 10, algorithm: sliding_log"),
        "0  | d | a=v +0   => OK         | OK d.a 10/minute 10 0s
         0  | d | a=v +6   => OK         | OK d.a 10/minute 4 60s
         10 | d | a=v +5   => OVER_LIMIT | OVER_LIMIT d.a 10/minute 4 50s
         10 | d | a=v +4   => OK         | OK d.a 10/minute 0 50s
         10 | d | a=v +0   => OK         | OK d.a 10/minute 0 50s
         # When 6 are free again, and when 10 are.
         20 | d | a=v +6   => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 40s
         20 | d | a=v +7   => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 50s
         # More than the limit never fit: until the log is empty.
         20 | d | a=v +11  => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 60s
         20 | d | a=v +max => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 60s
         60 | d | a=v +6   => OK         | OK d.a 10/minute 0 10s",
    );
}

#[test]
fn a_log_that_counts_what_it_denies() {
    check(
        &limit("unit: minute, requests_per_unit: 2, algorithm: sliding_log, count_denied: true"),
        "0  x2 | d | a=v => OK
         30    | d | a=v => OVER_LIMIT
         60    | d | a=v => OK         | OK         d.a 2/minute 0 30s
         80    | d | a=v => OVER_LIMIT
         # The one of 60 and the denied one of 80 are the last minute's.
         100   | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/minute 0 40s",
    );
}

#[test]
fn sliding_window() {
    check(
        &limit("unit: minute, requests_per_unit: 10, algorithm: sliding_window"),
        "0   | d | a=v +0  => OK         | OK d.a 10/minute 10 0s
         0   | d | a=v +10 => OK         | OK d.a 10/minute 0 66s
         0   | d | a=v     => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 66s
         60  | d | a=v     => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 6s
         # 10 x (1 - 6/60) + 0 + 1 = 10.
         66  | d | a=v     => OK         | OK d.a 10/minute 0 6s
         # 10 x (1 - 30/60) + 1 + 4 = 10.
         90  | d | a=v +5  => OVER_LIMIT | OVER_LIMIT d.a 10/minute 4 6s
         90  | d | a=v +4  => OK         | OK d.a 10/minute 0 6s
         # The 5 of the window before weigh 2.5.
         150 | d | a=v +8  => OVER_LIMIT | OVER_LIMIT d.a 10/minute 7 6s
         150 | d | a=v +7  => OK         | OK d.a 10/minute 0 6s
         # Two windows later nothing is left of it.
         240 | d | a=v +10 => OK         | OK d.a 10/minute 0 66s
         240 | d | a=v +11 => OVER_LIMIT | OVER_LIMIT d.a 10/minute 0 120s",
    );
}

#[test]
fn token_bucket_is_full_when_idle_and_never_more_than_full() {
    check(
        &limit("unit: minute, requests_per_unit: 6, burst: 3, algorithm: token_bucket"),
        "0        | d | a=v +0 => OK         | OK d.a 6/minute 3 0s
         0        | d | a=v    => OK         | OK d.a 6/minute 2 10s
         0        | d | a=v +2 => OK         | OK d.a 6/minute 0 30s
         0        | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 6/minute 0 10s
         9.999    | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 6/minute 0 1ms
         10       | d | a=v    => OK         | OK d.a 6/minute 0 30s
         10       | d | a=v +2 => OVER_LIMIT | OVER_LIMIT d.a 6/minute 0 20s
         35       | d | a=v +0 => OK         | OK d.a 6/minute 2 5s
         # More than the bucket holds: until it is full.
         35       | d | a=v +4 => OVER_LIMIT | OVER_LIMIT d.a 6/minute 2 60s
         86400    | d | a=v +4 => OVER_LIMIT
         86400 x3 | d | a=v    => OK
         86400    | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 6/minute 0 10s",
    );
}

#[test]
fn what_never_fits_waits_until_the_bucket_is_full_and_at_least_a_period() {
    check(
        &limit("unit: hour, requests_per_unit: 6, burst: 3, algorithm: token_bucket, queue: 2"),
        "0 | d | a=v +6 => OVER_LIMIT | OVER_LIMIT d.a 6/hour 3 3600s
         0 | d | a=v    => OK         | OK d.a 6/hour 2 600s
         0 | d | a=v +6 => OVER_LIMIT | OVER_LIMIT d.a 6/hour 2 3600s",
    );
}

#[test]
fn a_rate_that_is_no_whole_number_of_nanoseconds() {
    check(
        &limit("unit: second, requests_per_unit: 3, burst: 1, algorithm: token_bucket"),
        "0           | d | a=v => OK         | OK         d.a 3/second 0 334ms
         0.333333333 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 3/second 0 1ms
         0.333333334 | d | a=v => OK
         # It was full again a third of a nanosecond earlier, and is never more than full.
         0.666666667 | d | a=v => OVER_LIMIT
         0.666666668 | d | a=v => OK
         1.000000001 | d | a=v => OVER_LIMIT
         1.000000002 | d | a=v => OK",
    );
}

/// The contract's worked example: 15 per second, burst 15, queue 100; 130 hits at one instant.
#[test]
fn a_queue_holds_what_is_above_the_burst() {
    for (mode, word) in [("100", "hold"), ("{size: 100, mode: hold}", "hold"), ("{size: 100, mode: advise}", "advise")]
    {
        let queued = (1..=100_u64).map(|i| {
            let (delay, full) = (time_text((i * 1000).div_ceil(15)), time_text(1000 + (i * 1000).div_ceil(15)));
            format!("1 | d | a=v => OK {word}={delay} | OK d.a 15/second 0 {full}\n")
        });
        let script = [
            "1 x15 | d | a=v => OK\n".to_owned(),
            queued.collect(),
            "1 x15 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 15/second 0 67ms\n".to_owned(),
            // 101 fit never more than 115 do.
            "1 | d | a=w +115 => OK WORD=6667ms | OK d.a 15/second 0 7667ms\n".replace("WORD", word),
            "1 | d | a=x +116 => OVER_LIMIT\n".to_owned(),
            // 7.667 s later the bucket is full again.
            "8.667 x15 | d | a=v => OK\n".to_owned(),
        ];
        check(
            &limit(&format!("unit: second, requests_per_unit: 15, algorithm: token_bucket, queue: {mode}")),
            &script.concat(),
        );
    }
}

#[test]
fn the_longest_delay_of_a_check_counts_and_a_denied_check_waits_for_nothing() {
    let bucket = |key: &str, mode: &str| {
        format!(
            "- {{key: {key}, rate_limit: {{unit: minute, requests_per_unit: 6, burst: 1, algorithm: token_bucket, queue: {{size: 9, mode: {mode}}}}}}}\n"
        )
    };
    let one = "- {key: one, rate_limit: {unit: hour, requests_per_unit: 1}}";
    check(
        &domain(&[bucket("h", "hold"), bucket("a", "advise"), one.to_owned()].concat()),
        "0 | d | h=1; a=1          => OK
         0 | d | h=1 +2; h=2 +2; a=1 +4; one=v => OK hold=20s advise=40s
         0 | d | h=1; a=1; one=v   => OVER_LIMIT",
    );
}

/// The contract's worked example: 1000 an hour in any algorithm; ten times a look, then a charge of 600.
#[test]
fn charges_after_the_fact_are_counted_in_every_algorithm_and_place() {
    let limits = [
        "{unit: hour, requests_per_unit: 1000, count_denied: true}",
        "{unit: hour, requests_per_unit: 1000, count_denied: true, starts: first_request}",
        "{unit: hour, requests_per_unit: 1000, count_denied: true, algorithm: sliding_window}",
        "{unit: hour, requests_per_unit: 1000, count_denied: true, algorithm: sliding_log}",
        "{unit: hour, requests_per_unit: 1000, count_denied: true, algorithm: token_bucket}",
    ];
    let script = "
         0 | d | a=v +0   => OK
         0 | d | a=v +600 => OK
         0 | d | a=v +0   => OK
         0 | d | a=v +600 => OVER_LIMIT
         0 | d | a=v +0   => OVER_LIMIT
         0 | d | a=v +600 => OVER_LIMIT
         0 | d | a=v +0   => OVER_LIMIT";
    for limit in limits {
        for descriptor in [
            format!("- {{key: a, rate_limit: {limit}}}"),
            format!("- {{key: a, rate_limits: [{limit}, {{unit: day, requests_per_unit: 9999}}]}}"),
            format!(
                "- {{key: a, rate_limits: [{{unit: day, requests_per_unit: 9999, algorithm: token_bucket}}, {limit}]}}"
            ),
        ] {
            for charge in ["independent", "all_or_nothing"] {
                let rules = format!(
                    "domain: d\ncharge: {charge}\ndescriptors:\n{descriptor}\n- {{key: b, rate_limit: {{unit: day, requests_per_unit: 9999}}}}"
                );
                check(&rules, script);
                check(&rules, &script.replace(" +0 ", " +0; b=v +0 ").replace(" +600 ", " +600; b=v +600 "));
            }
        }
    }
}

/// The debt of a bucket is at most one period's allowance.
#[test]
fn a_bucket_is_in_debt_for_one_period_at_most() {
    check(
        &limit("unit: hour, requests_per_unit: 60, burst: 10, algorithm: token_bucket, count_denied: true"),
        "0    | d | a=v +500 => OVER_LIMIT | OVER_LIMIT d.a 60/hour 0 4200s
         0    | d | a=v +0   => OVER_LIMIT | OVER_LIMIT d.a 60/hour 0 3600s
         3599 | d | a=v +0   => OVER_LIMIT | OVER_LIMIT d.a 60/hour 0 1s
         3600 | d | a=v +0   => OK         | OK d.a 60/hour 0 600s
         3660 | d | a=v      => OK         | OK d.a 60/hour 0 600s",
    );
}

/// What was charged beyond the limit stays counted when a part of it is given back.
#[test]
fn a_refund_after_a_charge_beyond_the_limit_gives_back_no_more_than_it_says() {
    for algorithm in ["fixed_window", "sliding_window", "sliding_log", "token_bucket"] {
        let rules = limit(&format!("unit: hour, requests_per_unit: 1000, algorithm: {algorithm}, count_denied: true"));
        for charges in ["0 | d | a=v +1900 => OVER_LIMIT", "0 x19 | d | a=v +100 => ..."] {
            let scene = Scene::new(&rules);
            scene.admitted(charges);
            scene.run(
                "0 | d | a=v +600 refund => OK
                 0 | d | a=v +0          => OVER_LIMIT
                 0 | d | a=v +599        => OVER_LIMIT",
            );
        }
    }
}

/// The same, at instants of their own: the log keeps what is older than newer hits, for a refund of these.
#[test]
fn a_log_counts_what_is_older_than_a_refund() {
    Scene::new(&limit("unit: hour, requests_per_unit: 10, algorithm: sliding_log, count_denied: true")).run(
        "0    | d | a=v +10       => OK
         1    | d | a=v +10       => OVER_LIMIT
         2    | d | a=v +10 refund => OK
         2    | d | a=v           => OVER_LIMIT
         3600 | d | a=v +9        => OK",
    );
}
