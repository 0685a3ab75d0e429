//! Other rules while requests flow: none is lost, and the new limit holds with the old count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bootstrap::Gateway;
use crate::client::{Client, Header, Stats, tally};
use crate::lab::Lab;
use crate::server::wait_for;

const ACME: &[Header] = &[("x-partner", b"acme")];
const GLOBEX: &[Header] = &[("x-partner", b"globex")];

#[test]
fn rules_change_under_traffic_without_an_error() {
    let gateway = Gateway { fail_closed: true, workers: 2, ..Gateway::default() };
    let Some(lab) = Lab::open(&rules(1_000_000), gateway) else { return };
    let stop = AtomicBool::new(false);
    let traffic = thread::scope(|scope| {
        // Ends the traffic also when the scenario fails, so that the failure is told.
        let _stop = StopOnDrop(&stop);
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| send_until(&stop, lab.client()))).collect();
        change_rules(&lab);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    for seen in &traffic {
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "a client that no change touches: {seen:?}");
        assert!(seen[&200] > 50, "too little traffic to tell: {seen:?}");
    }
    assert_eq!(lab.envoy.rls_errors(), 0);
}

fn change_rules(lab: &Lab) {
    let mut client = lab.client();
    for _ in 0..5 {
        assert_eq!(client.get("/", ACME).status, 200);
    }
    lab.replace_rules(&rules(3));
    let denied = wait_until_limit_is(&mut client, 3);
    assert_eq!(denied, 429, "5 were counted before the limit became 3: the count outlives the reload");

    lab.replace_rules("domain: partner-api\ndescriptors: [{rate_limit: {unit: fortnight}}]\n");
    thread::sleep(LONGER_THAN_A_RELOAD);
    assert_eq!(wait_until_limit_is(&mut client, 3), 429, "a bad file changes nothing");

    lab.replace_rules(&rules(2_000_000));
    assert_eq!(wait_until_limit_is(&mut client, 2_000_000), 200, "a good file after a bad one is taken");
}

fn wait_until_limit_is(client: &mut Client, limit: u32) -> u16 {
    let shown = format!("{limit}, {limit};w=31536000");
    wait_for(&shown, Duration::from_secs(10), || {
        let reply = client.get("/", ACME);
        assert!([200, 429].contains(&reply.status), "{reply:?}");
        (reply.header("x-ratelimit-limit") == Some(&shown)).then_some(reply.status)
    })
}

fn send_until(stop: &AtomicBool, mut client: Client) -> Stats {
    let mut statuses = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        statuses.push(client.try_get("/", GLOBEX).map_or(0, |reply| reply.status));
        thread::sleep(Duration::from_millis(2));
    }
    tally(statuses)
}

fn rules(acme: u32) -> String {
    format!(
        "domain: partner-api
descriptors:
  - key: partner
    value: acme
    rate_limit: {{unit: year, requests_per_unit: {acme}}}
  - key: partner
    value: globex
    rate_limit: {{unit: year, requests_per_unit: 1000000}}
"
    )
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Nothing tells from outside that a bad file was looked at; a good one shows in well under this time.
const LONGER_THAN_A_RELOAD: Duration = Duration::from_millis(1500);
