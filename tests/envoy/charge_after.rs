//! Charges after the fact: Envoy looks before a request, and charges what its response cost when that is done.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bootstrap::Gateway;
use crate::client::Client;
use crate::lab::Lab;
use crate::server::wait_for;

/// In every algorithm: a budget of 1000 a year, of which each response takes 600.
#[test]
fn a_partner_is_stopped_once_its_responses_have_cost_more_than_its_limit() {
    for algorithm in [
        "algorithm: fixed_window",
        "starts: first_request",
        "algorithm: sliding_window",
        "algorithm: sliding_log",
        "algorithm: token_bucket",
    ] {
        let rules = format!(
            "domain: partner-api\ndescriptors:\n- key: partner\n  rate_limits:\n  \
             - {{name: tokens, unit: year, requests_per_unit: 1000, count_denied: true, {algorithm}}}\n  \
             - {{unit: day, requests_per_unit: 1000000}}\n"
        );
        let gateway = Gateway { charge_after: true, timeout: "10s", ..Gateway::default() };
        let Some(lab) = Lab::open(&rules, gateway) else { return };
        let mut client = lab.client();
        for (nth, status) in (1..).zip([200, 200, 429, 429]) {
            let reply = client.get("/", &[("x-partner", b"acme"), ("x-cost", b"600")]);
            assert_eq!(reply.status, status, "request {nth}, {algorithm}: {reply:?}");
            if status == 200 {
                // Envoy charges when the stream is done, which is after the client has its answer.
                wait_for("the charge", Duration::from_secs(20), || {
                    (charged_hits(lab.replicas[0].http_addr()) >= nth * 600).then_some(())
                });
            }
        }
        assert_eq!(lab.envoy.rls_errors(), 0);
    }
}

/// What the metrics say of all rules together.
fn charged_hits(http: SocketAddr) -> u64 {
    let page = Client::to(http).get("/metrics", &[]).body;
    let hits = page.lines().filter(|line| line.starts_with("ratelimit_service_rate_limit_total_hits{"));
    hits.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
