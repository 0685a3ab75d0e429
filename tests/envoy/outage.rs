//! Tidegate crashes, hangs and comes back: what Envoy's clients see, failing open and failing closed.

use std::time::Duration;

use crate::bootstrap::Gateway;
use crate::client::Header;
use crate::lab::Lab;
use crate::server::{Stopwatch, wait_for};

const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    value: acme
    rate_limit: {unit: year, requests_per_unit: 5}
  - key: partner
    value: globex
    rate_limit: {unit: year, requests_per_unit: 1000000}
";

const ACME: &[Header] = &[("x-partner", b"acme")];
const GLOBEX: &[Header] = &[("x-partner", b"globex")];

#[test]
fn failing_open_lets_requests_pass_without_tidegate_and_limits_them_again_after_it_is_back() {
    crash_and_come_back(false, 200);
}

#[test]
fn failing_closed_answers_500_without_tidegate_and_serves_again_after_it_is_back() {
    crash_and_come_back(true, 500);
}

fn crash_and_come_back(fail_closed: bool, without_tidegate: u16) {
    let Some(mut lab) = Lab::open(RULES, Gateway { fail_closed, ..Gateway::default() }) else { return };
    let mut client = lab.client();
    let mut six = |status: [u16; 6], when: &str| {
        assert_eq!([(); 6].map(|()| client.get("/", ACME).status), status, "{when}");
    };
    six([200, 200, 200, 200, 200, 429], "before");
    lab.tidegate().crash();
    six([without_tidegate; 6], "without Tidegate");
    let let_pass = if fail_closed { 0 } else { 6 };
    assert_eq!(lab.envoy.rls_errors(), 6);
    assert_eq!(lab.envoy.stat("cluster.upstream.ratelimit.failure_mode_allowed"), let_pass);
    lab.tidegate().restart();
    six([200, 200, 200, 200, 200, 429], "from the very first request after it is back, with fresh counters");
    assert_eq!(lab.envoy.rls_errors(), 6, "no error after it is back");
}

#[test]
fn a_hung_tidegate_costs_the_timeout_and_answers_again_when_it_goes_on() {
    for (fail_closed, while_hung) in [(false, 200), (true, 500)] {
        let gateway = Gateway { fail_closed, timeout: "0.5s", ..Gateway::default() };
        let Some(mut lab) = Lab::open(RULES, gateway) else { return };
        let mut client = lab.client();
        client.get("/", GLOBEX);
        lab.tidegate().pause();
        for _ in 0..3 {
            let stopwatch = Stopwatch::start();
            assert_eq!(client.get("/", GLOBEX).status, while_hung, "while it hangs");
            assert!(stopwatch.elapsed() >= Duration::from_millis(490), "answered before the timeout");
        }
        assert_eq!(lab.envoy.rls_errors(), 3);
        lab.tidegate().signal("CONT");
        wait_for("a decision after it goes on", Duration::from_secs(10), || {
            client.get("/", GLOBEX).header("x-ratelimit-remaining").map(|_| ())
        });
        let errors = lab.envoy.rls_errors();
        for _ in 0..20 {
            assert_eq!(client.get("/", GLOBEX).status, 200, "after it goes on");
        }
        assert_eq!(lab.envoy.rls_errors(), errors, "no error after it goes on");
    }
}
