//! Bans: of fixed length, begun once, followed by a fresh counter.

use crate::scene::{check, domain};

fn limit(keys: &str) -> String {
    domain(&format!("- {{key: a, rate_limit: {{{keys}}}}}"))
}

/// The contract's worked example.
#[test]
fn the_hit_that_reaches_the_limit_begins_a_ban() {
    check(
        &limit("unit: second, requests_per_unit: 10, starts: first_request, ban: 1s"),
        "0.2 x8      | d | a=v => OK
         0.5         | d | a=v => OK         | OK         d.a 10/second 1 700ms
         0.6         | d | a=v => OK         | OK         d.a 10/second 0 1s
         0.9         | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 10/second 0 700ms
         # The window ended at 1.2 s, the ban did not.
         1.3         | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 10/second 0 300ms
         1.599999999 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 10/second 0 1ms
         1.6         | d | a=v => OK         | OK d.a 10/second 9 1s
         2.599999999 | d | a=v => OK         | OK d.a 10/second 8 1ms",
    );
}

#[test]
fn checks_during_a_ban_neither_extend_it_nor_count() {
    check(
        &limit("unit: minute, requests_per_unit: 3, ban: 90s"),
        "10 x2   | d | a=v        => OK
         # A look begins none.
         10      | d | a=v +0     => OK         | OK d.a 3/minute 1 50s
         10      | d | a=v        => OK         | OK d.a 3/minute 0 90s
         20 x99  | d | a=v        => OVER_LIMIT | OVER_LIMIT d.a 3/minute 0 80s
         30      | d | a=v +max   => OVER_LIMIT | OVER_LIMIT d.a 3/minute 0 70s
         30      | d | a=v +0     => OVER_LIMIT | OVER_LIMIT d.a 3/minute 0 70s
         30      | d | a=v refund => OK         | OK d.a 3/minute 0 70s
         99.9    | d | a=v        => OVER_LIMIT
         # The window of 60 s to 120 s runs, and the counter is fresh.
         100     | d | a=v        => OK         | OK d.a 3/minute 2 20s
         # Of one value only.
         20      | d | a=w        => OK",
    );
}

#[test]
fn a_denied_check_begins_a_ban_too() {
    check(
        &limit("unit: minute, requests_per_unit: 3, ban: 10m"),
        "0   | d | a=v +2 => OK
         5   | d | a=v +2 => OVER_LIMIT | OVER_LIMIT d.a 3/minute 0 600s
         604 | d | a=v    => OVER_LIMIT
         605 | d | a=v    => OK         | OK d.a 3/minute 2 55s",
    );
}

#[test]
fn only_a_denied_check_begins_a_ban_when_exceeded() {
    check(
        &limit("unit: minute, requests_per_unit: 3, ban: {for: 90s, when: exceeded}"),
        "0 x2 | d | a=v    => OK
         0    | d | a=v    => OK         | OK         d.a 3/minute 0 60s
         0    | d | a=v +0 => OK         | OK         d.a 3/minute 0 60s
         1    | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 3/minute 0 90s
         80   | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 3/minute 0 11s
         91   | d | a=v    => OK         | OK         d.a 3/minute 2 29s",
    );
}

#[test]
fn bans_of_the_other_algorithms() {
    check(
        &limit("unit: minute, requests_per_unit: 2, algorithm: sliding_log, ban: 10s"),
        "0  x2 | d | a=v => OK
         9     | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/minute 0 1s
         # Fresh, though the log's hits are not a minute old.
         10 x2 | d | a=v => OK",
    );
    check(
        &limit("unit: minute, requests_per_unit: 2, algorithm: sliding_window, ban: 10s"),
        "0  x2 | d | a=v => OK
         9     | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/minute 0 1s
         10 x2 | d | a=v => OK",
    );
    check(
        &limit("unit: minute, requests_per_unit: 2, algorithm: token_bucket, ban: {for: 10s, when: exceeded}"),
        "0  x2 | d | a=v => OK
         1     | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/minute 0 10s
         10.9  | d | a=v => OVER_LIMIT
         11 x2 | d | a=v => OK",
    );
}

#[test]
fn a_ban_of_one_of_several_limits() {
    check(
        &domain(
            "- {key: a, rate_limits: [{unit: hour, requests_per_unit: 2, ban: 10m}, {unit: day, requests_per_unit: 9}]}",
        ),
        "0   | d | a=v => OK         | OK         d.a 2/hour 1 3600s
         0   | d | a=v => OK         | OK         d.a 2/hour 0 600s
         1   | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/hour 0 599s
         600 | d | a=v +2 => OK
         1200 x2 | d | a=v => OK
         # 2 + 2 + 2 of the day are spent: bans charged nothing there.
         1800 | d | a=v +0 => OK     | OK d.a 9/day 3 84600s",
    );
}
