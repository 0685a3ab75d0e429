//! What a check costs, and what it costs when something denies it.

use crate::scene::{check, domain};

const RULES: &str = "
- {key: a, rate_limit: {unit: hour, requests_per_unit: 10}}
- {key: one, rate_limit: {unit: hour, requests_per_unit: 1}}
- {key: zero, rate_limit: {unit: hour, requests_per_unit: 0}}
- {key: most, rate_limit: {unit: hour, requests_per_unit: 4294967295}}";

#[test]
fn hits_of_the_request_and_of_the_descriptor() {
    check(
        &domain(RULES),
        "# Neither: 1. The request's: for every descriptor that has none of its own.
         0 | d    | a=v    => OK | OK d.a 10/hour 9 3600s
         0 | d +3 | a=v    => OK | OK d.a 10/hour 6 3600s
         0 | d +3 | a=v +2; a=w => OK | OK d.a 10/hour 4 3600s; OK d.a 10/hour 7 3600s
         # 0 looks.
         0 | d +3 | a=v +0 => OK | OK d.a 10/hour 4 3600s
         0 | d    | a=v +4 => OK | OK d.a 10/hour 0 3600s
         # At the limit a look still passes, beyond it no more.
         0 | d    | a=v +0 => OK         | OK         d.a 10/hour 0 3600s
         0 | d    | a=v    => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         0 | d    | a=v +0 => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s",
    );
}

#[test]
fn the_count_goes_on_when_it_is_over() {
    check(
        &domain(RULES),
        "0 | d | a=v +9 => OK         | OK         d.a 10/hour 1 3600s
         0 | d | a=v +2 => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         # The 2 hits that were denied count: nothing is left for 1.
         0 | d | a=v    => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s",
    );
}

#[test]
fn more_than_the_limit_and_more_than_can_be_counted() {
    check(
        &domain(RULES),
        "0 | d             | a=v +11   => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         0 | d             | a=w +max  => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         0 | d             | a=w +max  => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         0 | d             | a=w       => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         0 | d             | a=x       => OK         | OK         d.a 10/hour 9 3600s
         0 | d +4294967295 | a=y       => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         0 | d +4294967295 | most=v    => OK         | OK d.most 4294967295/hour 0 3600s
         0 | d             | most=v +0 => OK         | OK d.most 4294967295/hour 0 3600s
         0 | d             | most=v    => OVER_LIMIT | OVER_LIMIT d.most 4294967295/hour 0 3600s
         0 | d             | most=w    => OK         | OK d.most 4294967295/hour 4294967294 3600s",
    );
}

#[test]
fn a_limit_of_zero_blocks_every_hit() {
    check(
        &domain(RULES),
        "0 | d | zero=v +0 => OK         | OK         d.zero 0/hour 0 3600s
         0 | d | zero=v    => OVER_LIMIT | OVER_LIMIT d.zero 0/hour 0 3600s
         0 | d | zero=v +0 => OVER_LIMIT | OVER_LIMIT d.zero 0/hour 0 3600s",
    );
}

#[test]
fn every_descriptor_is_charged_though_one_is_over() {
    check(
        &domain(RULES),
        "0 | d | one=v; a=v => OK         | OK         d.one 1/hour 0 3600s; OK d.a 10/hour 9 3600s
         0 | d | one=v; a=v => OVER_LIMIT | OVER_LIMIT d.one 1/hour 0 3600s; OK d.a 10/hour 8 3600s
         0 | d | a=v; one=v => OVER_LIMIT | OK d.a 10/hour 7 3600s; OVER_LIMIT d.one 1/hour 0 3600s
         0 | d | a=v +0     => OK         | OK d.a 10/hour 7 3600s",
    );
}

#[test]
fn a_counter_that_is_named_twice_is_charged_twice() {
    check(
        &domain(RULES),
        "0 | d | a=v; a=v     => OK         | OK d.a 10/hour 9 3600s; OK d.a 10/hour 8 3600s
         0 | d | one=v; one=v => OVER_LIMIT | OK d.one 1/hour 0 3600s; OVER_LIMIT d.one 1/hour 0 3600s",
    );
}

#[test]
fn a_refund_gives_back_down_to_the_full_allowance() {
    check(
        &domain(RULES),
        "0 | d | a=v +6        => OK | OK d.a 10/hour 4 3600s
         0 | d | a=v +2 refund => OK | OK d.a 10/hour 6 3600s
         0 | d | a=v refund    => OK | OK d.a 10/hour 7 3600s
         0 | d | a=v +0 refund => OK | OK d.a 10/hour 7 3600s
         0 | d | a=v +99 refund => OK | OK d.a 10/hour 10 3600s
         0 | d | a=v +11       => OVER_LIMIT | OVER_LIMIT d.a 10/hour 0 3600s
         # Always OK, over the limit too: 11 - 2 = 9 count.
         0 | d | a=v +2 refund => OK | OK d.a 10/hour 1 3600s
         0 | d | a=v +max refund => OK | OK d.a 10/hour 10 3600s
         # It never creates a counter.
         0 | d | a=w +5 refund => OK | OK d.a 10/hour 10 3600s
         0 | d | a=w           => OK | OK d.a 10/hour 9 3600s
         # It has no effect on the other descriptors.
         0 | d | one=v; a=w    => OK
         0 | d | one=v; a=w refund => OVER_LIMIT | OVER_LIMIT d.one 1/hour 0 3600s; OK d.a 10/hour 9 3600s
         # Nothing to give back where nothing is limited.
         0 | d | none=v refund => OK | OK -",
    );
}

#[test]
fn refunds_of_every_algorithm() {
    let limit = |key: &str, more: &str| {
        format!("- {{key: {key}, rate_limit: {{unit: hour, requests_per_unit: 10, {more}}}}}\n")
    };
    let config = [
        limit("first", "starts: first_request"),
        limit("window", "algorithm: sliding_window"),
        limit("log", "algorithm: sliding_log"),
        limit("bucket", "algorithm: token_bucket"),
    ];
    check(
        &domain(&config.concat()),
        "0 | d    | first=v +3 refund; window=v +3 refund; log=v +3 refund; bucket=v +3 refund => OK
         0 | d +9 | first=v; window=v; log=v; bucket=v => OK
         0 | d +2 | first=v; window=v; log=v; bucket=v => OVER_LIMIT
         0 | d | first=v  +3 refund => OK | OK d.first 10/hour 4 3600s
         0 | d | window=v +3 refund => OK | OK d.window 10/hour 4 4200s
         0 | d | log=v    +3 refund => OK | OK d.log 10/hour 4 3600s
         0 | d | bucket=v +3 refund => OK | OK d.bucket 10/hour 4 2160s
         0 | d | first=v  +max refund => OK | OK d.first 10/hour 10 3600s
         0 | d | window=v +max refund => OK | OK d.window 10/hour 10 0s
         0 | d | log=v    +max refund => OK | OK d.log 10/hour 10 0s
         0 | d | bucket=v +max refund => OK | OK d.bucket 10/hour 10 0s
         0 | d +10 | first=v; window=v; log=v; bucket=v => OK",
    );
}
