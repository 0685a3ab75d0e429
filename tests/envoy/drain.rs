//! A rolling restart of two replicas under load, failing closed: no request fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::bootstrap::Gateway;
use crate::client::{Client, Header, Stats, tally};
use crate::lab::Lab;
use crate::server::{Stopwatch, wait_for};

const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {unit: year, requests_per_unit: 1000000}
";

const PER_SECOND: u64 = 150;
const HEALTHY: &str = "cluster.tidegate.membership_healthy";

#[test]
fn a_rolling_restart_of_two_replicas_fails_no_request() {
    let gateway = Gateway { fail_closed: true, workers: 2, replicas: 2, health_checks: true, ..Gateway::default() };
    let Some(mut lab) = Lab::open(RULES, gateway) else { return };
    wait_for_healthy(&lab, 2);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (stop_now, stopwatch) = (|| stop.store(true, Ordering::Relaxed), Stopwatch::start());
    let seen = thread::scope(|scope| {
        let clients = [lab.client(), lab.client(), lab.client(), lab.client()];
        let (stop, sent) = (&stop, &sent);
        let threads = clients.map(|client| scope.spawn(move || send_at_rate(client, stopwatch, stop, sent)));
        let rolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| roll(&mut lab)));
        stop_now();
        let statuses: Vec<u16> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        rolled.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        tally(statuses)
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "{seen:?}");
    assert!(seen[&200] > 300, "too little traffic to tell: {seen:?}");
    assert_eq!(lab.envoy.rls_errors(), 0);
    assert_eq!(lab.envoy.stat("cluster.upstream.ratelimit.ok"), total(&seen));
}

/// Stops each replica in turn as a deployment does, and starts it again.
fn roll(lab: &mut Lab) {
    for i in 0..lab.replicas.len() {
        lab.replicas[i].signal("TERM");
        let status = lab.replicas[i].ended(Duration::from_secs(10));
        assert!(status.success(), "replica {i} ended with {status}");
        lab.replicas[i].restart();
        wait_for_healthy(lab, 2);
        thread::sleep(Duration::from_millis(300));
    }
}

fn wait_for_healthy(lab: &Lab, replicas: u64) {
    wait_for("healthy replicas", Duration::from_secs(10), || (lab.envoy.stat(HEALTHY) == replicas).then_some(()));
}

/// Takes the next request's turn in a schedule that all clients share, until told to stop.
fn send_at_rate(mut client: Client, since: Stopwatch, stop: &AtomicBool, sent: &AtomicU64) -> Vec<u16> {
    const PARTNER: &[Header] = &[("x-partner", b"acme")];
    let mut statuses = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let due = Duration::from_micros(sent.fetch_add(1, Ordering::Relaxed) * 1_000_000 / PER_SECOND);
        thread::sleep(due.saturating_sub(since.elapsed()));
        statuses.push(client.try_get("/", PARTNER).map_or(0, |reply| reply.status));
    }
    statuses
}

fn total(tally: &Stats) -> u64 {
    tally.values().map(|count| *count as u64).sum()
}
