//! The start: with, without and before the first set.

use crate::control_plane::{Behaviour, ControlPlane};
use crate::replica::{check, command, health, limit, limit_becomes, serve};
use crate::server::{DEADLINE, ReservedPort, TestServer, eventually};
use crate::sets::Set;

const NO_RULES: &str = "Unavailable: no rate limit configuration loaded";

#[test]
fn the_ports_are_open_and_nothing_is_admitted_before_the_first_set() {
    let plane = ControlPlane::behaving(
        Set::new("1", "api\n  key 1/hour\n"),
        Behaviour { silent: true, ..Behaviour::default() },
    );
    let server = serve(&plane.url(), &[]);
    server.log_until("waiting for the first set");
    plane.request("a subscription", 0, |_| true);
    assert_eq!((health(&server), server.http("GET", "/readyz", b"").0), (500, 503));
    assert_eq!(check(&server, "api", &[("key", "v")]), NO_RULES);
    // Silence is normal: the stream is still the first one.
    plane.behave(Behaviour::default());
    eventually("the server is ready", || health(&server) == 200);
    assert_eq!((limit(&server, "api.key"), plane.streams()), (Some(1), 1));
}

#[test]
fn it_can_be_ready_before_the_first_set() {
    let plane = ControlPlane::behaving(
        Set::new("1", "api\n  key 1/hour\n"),
        Behaviour { silent: true, ..Behaviour::default() },
    );
    let server = serve(&plane.url(), &["--start-without-rules"]);
    eventually("the server is ready", || health(&server) == 200);
    assert_eq!(check(&server, "api", &[("key", "v")]), NO_RULES);
    plane.behave(Behaviour::default());
    limit_becomes(&server, "api.key", Some(1));
    assert_eq!(check(&server, "api", &[("key", "v")]), "OK");
}

#[test]
fn a_first_set_without_anything_that_can_be_used_does_not_end_the_wait() {
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1/fortnight\n"));
    let server = serve(&plane.url(), &[]);
    plane.nacked(0);
    assert_eq!((health(&server), check(&server, "api", &[("key", "v")])), (500, NO_RULES.to_owned()));
    let before = plane.push(Set::new("2", "api\n  key 1/hour\n"));
    plane.acked(before, "2");
    eventually("the server is ready", || health(&server) == 200);
}

#[test]
fn it_starts_while_the_control_plane_is_away() {
    let reserved = ReservedPort::new();
    let server =
        serve(&format!("http://127.0.0.1:{}", reserved.port), &["--xds-retry", "10ms", "--xds-retry-max", "50ms"]);
    server.log_until("connecting is tried again");
    assert_eq!((health(&server), server.metric("tidegate_xds_connected")), (500, 0));
    eventually("many attempts", || server.metric("tidegate_xds_failures_total") > 20);
    let lines = server.log().iter().filter(|line| line.contains("xDS:")).count();
    assert_eq!(lines, 1, "however many attempts: {:?}", server.log());
}

fn fails(flags: &[&str], code: i32, expected: &str) {
    let output = command("https://127.0.0.1:1", flags).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{flags:?}: {text}");
    assert!(text.contains(expected), "{flags:?}: {text}");
}

#[test]
fn what_cannot_work_is_an_error_at_the_start() {
    fails(&["rules.yaml"], 2, "cannot be used with");
    fails(&["--config", "rules.yaml"], 2, "cannot be used with");
    fails(&["--xds-ca", "/nonexistent/ca.pem"], 1, "--xds: /nonexistent/ca.pem");
    fails(&["--xds-cert", "cert.pem"], 2, "--xds-key");
    fails(&["--xds-headers", "nonsense"], 1, "--xds-headers: header 1: it has no colon");
    fails(&["--xds-max-bytes", "1GiB"], 2, "64MiB");
    let mut plain = command("http://127.0.0.1:1", &["--xds-ca", "ca.pem"]);
    let output = plain.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("write https://"), "{text}");
}

#[test]
fn sighup_and_sigterm_work_without_the_control_plane() {
    let reserved = ReservedPort::new();
    let mut server: TestServer = serve(&format!("http://127.0.0.1:{}", reserved.port), &["--drain", "10ms"]);
    server.signal("HUP");
    server.log_until("SIGHUP has no effect");
    server.signal("TERM");
    assert!(server.ended(DEADLINE).success());
}
