//! Both implementations of HTTP/2 on the gRPC port, for a real Envoy: many checks at once, large ones, ones that nobody waits for, and the end of
//! connections with checks under way.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use crate::bootstrap::Gateway;
use crate::client::{Header, Stats, tally, volley};
use crate::lab::Lab;
use crate::server::{eventually, wait_for};

/// Those of `patient` wait for a fifth of a second each.
const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {unit: year, requests_per_unit: 1000000}
  - key: partner
    value: patient
    rate_limit: {requests_per_unit: 5, period: 1s, algorithm: token_bucket, burst: 1, queue: 100}
";

const FRONT_ENDS: [&str; 2] = ["lean", "h2"];
const PARTNER: &[Header] = &[("x-partner", b"acme")];
const PATIENT: &[Header] = &[("x-partner", b"patient")];
const CHECKED: &str = "cluster.upstream.ratelimit.ok";

/// The lab with these flags, and nothing when there is no Envoy.
fn lab(front_end: &str, flags: &[&str], gateway: Gateway) -> Option<Lab> {
    let flags: Vec<_> = ["--http2", front_end].iter().chain(flags).map(ToString::to_string).collect();
    let bootstrap = |rls: &[SocketAddr], dir: &Path| gateway.bootstrap(rls, &dir.join("service.sock"));
    Lab::open_with(RULES, gateway, &flags, bootstrap)
}

#[test]
fn checks_of_all_sizes_are_answered_while_health_is_checked() {
    for front_end in FRONT_ENDS {
        let gateway = Gateway { fail_closed: true, workers: 2, health_checks: true, ..Gateway::default() };
        let Some(lab) = lab(front_end, &[], gateway) else { return };
        wait_for("health", crate::server::DEADLINE, || {
            (lab.envoy.stat("cluster.tidegate.membership_healthy") == 1).then_some(())
        });
        assert_eq!(volley(lab.envoy.gateway, 200, PARTNER), Stats::from([(200, 200)]), "{front_end}");
        for length in [1, 1_000, 15_000, 50_000] {
            let value = vec![b'v'; length];
            let reply = lab.client().get("/", &[("x-partner", &value)]);
            assert_eq!(reply.status, 200, "{front_end}: a value of {length} bytes");
        }
        assert_eq!((lab.envoy.rls_errors(), lab.envoy.stat(CHECKED)), (0, 204), "{front_end}");
    }
}

/// Envoy's time is over before the answer: it resets these streams, and the connection goes on.
#[test]
fn checks_that_time_out_fail_alone() {
    for front_end in FRONT_ENDS {
        let gateway = Gateway { fail_closed: true, timeout: "0.3s", ..Gateway::default() };
        let Some(mut lab) = lab(front_end, &[], gateway) else { return };
        assert_eq!(lab.client().get("/", PARTNER).status, 200);
        lab.tidegate().pause();
        assert_eq!(volley(lab.envoy.gateway, 20, PARTNER), Stats::from([(500, 20)]), "{front_end}");
        lab.tidegate().signal("CONT");
        eventually("an answer", || lab.client().get("/", PARTNER).status == 200);
        assert!(lab.envoy.rls_errors() >= 20, "{front_end}");
        assert_eq!(lab.envoy.stat("cluster.tidegate.upstream_cx_destroy_with_active_rq"), 0, "{front_end}");
    }
}

/// Connections end about ten times a second, each with checks under way.
#[test]
fn no_check_is_lost_when_connections_reach_their_age() {
    for front_end in FRONT_ENDS {
        let gateway = Gateway { fail_closed: true, timeout: "20s", workers: 2, ..Gateway::default() };
        let flags = ["--max-connection-age", "100ms", "--max-connection-age-grace", "50s"];
        let Some(lab) = lab(front_end, &flags, gateway) else { return };
        let seen = thread::scope(|scope| {
            let waiting = scope.spawn(|| volley(lab.envoy.gateway, 6, PATIENT));
            let busy: Vec<_> = (0..4)
                .map(|_| {
                    let mut client = lab.client();
                    scope.spawn(move || tally((0..200).map(|_| client.try_get("/", PARTNER).map_or(0, |r| r.status))))
                })
                .collect();
            assert_eq!(waiting.join().unwrap(), Stats::from([(200, 6)]), "{front_end}");
            busy.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(seen, vec![Stats::from([(200, 200)]); 4], "{front_end}");
        assert_eq!((lab.envoy.rls_errors(), lab.envoy.stat(CHECKED)), (0, 806), "{front_end}");
    }
}

/// GOAWAY comes after a second, while checks are delayed: each is answered, and then the process ends.
#[test]
fn checks_under_way_are_answered_when_the_server_stops() {
    for front_end in FRONT_ENDS {
        let gateway = Gateway { fail_closed: true, timeout: "20s", ..Gateway::default() };
        let Some(mut lab) = lab(front_end, &["--shutdown-deadline", "50s"], gateway) else { return };
        let address = lab.envoy.gateway;
        let waiting = thread::spawn(move || volley(address, 12, PATIENT));
        eventually("all checks", || lab.envoy.stat("cluster.tidegate.upstream_rq_total") == 12);
        eventually("their delay", || lab.replicas[0].metric("tidegate_delayed_replies") > 0);
        lab.tidegate().signal("TERM");
        assert_eq!(waiting.join().unwrap(), Stats::from([(200, 12)]), "{front_end}");
        assert_eq!(lab.tidegate().wait().code(), Some(0), "{front_end}");
        assert_eq!(lab.envoy.rls_errors(), 0, "{front_end}");
    }
}
