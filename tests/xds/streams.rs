//! Streams that end, control planes that restart, and what a client says on a new stream.

use crate::control_plane::{Behaviour, ControlPlane};
use crate::replica::{check, health, limit, limit_becomes, serve};
use crate::server::eventually;
use crate::sets::Set;

/// Attempts in quick succession, so that tests do not wait.
const QUICK: [&str; 4] = ["--xds-retry", "20ms", "--xds-retry-max", "50ms"];

#[test]
fn rules_stay_while_the_control_plane_is_away() {
    let mut plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let server = serve(&plane.url(), &QUICK);
    plane.acked(0, "1");
    assert_eq!(server.metric("tidegate_xds_connected"), 1);
    plane.go_away();
    eventually("the loss is noticed", || server.metric("tidegate_xds_connected") == 0);
    assert_eq!((health(&server), limit(&server, "api.key")), (200, Some(1)));
    assert_eq!(check(&server, "api", &[("key", "v")]), "OK");
    assert_eq!(check(&server, "api", &[("key", "v")]), "OVER_LIMIT");
    plane.come_back();
    eventually("it is connected again", || server.metric("tidegate_xds_connected") == 1);
    assert_eq!(check(&server, "api", &[("key", "v")]), "OVER_LIMIT", "the count is kept");
}

#[test]
fn a_new_stream_begins_without_a_version_and_a_nonce() {
    let plane = ControlPlane::start(Set::new("3", "api\n  key 1/hour\n"));
    let server = serve(&plane.url(), &QUICK);
    plane.acked(0, "3");
    let before = plane.events().len();
    plane.end_streams();
    let first = plane.request("a new subscription", before, |request| request.response_nonce.is_empty());
    assert_eq!(first.version_info, "");
    plane.acked(before, "3");
    assert_eq!(plane.streams(), 2);
    assert_eq!(server.log().iter().filter(|line| line.contains("configuration loaded")).count(), 1, "the same set");
}

/// Versions are numbers from 1 in each process of the control plane, and some trust the version that a new stream names.
#[test]
fn another_set_with_the_same_version_after_a_restart_comes_into_force() {
    let trusts = Behaviour { trusts_versions: true, ..Behaviour::default() };
    let mut plane = ControlPlane::behaving(Set::new("1", "api\n  key 1/hour\n"), trusts);
    let server = serve(&plane.url(), &QUICK);
    plane.acked(0, "1");
    plane.restart(Set::new("1", "api\n  key 2/hour\n"));
    limit_becomes(&server, "api.key", Some(2));
}

#[test]
fn limits_that_were_deleted_while_the_control_plane_was_away_are_gone() {
    let mut plane = ControlPlane::start(Set::new("2", "api\n  key 1/hour\n"));
    let server = serve(&plane.url(), &QUICK);
    plane.acked(0, "2");
    // A server made with go-control-plane sends an empty set to a new stream only if that names another version.
    plane.restart(Set::new("2", ""));
    limit_becomes(&server, "api.key", None);
}

/// The scenario `backoff` of the reference's tests: each stream ends after its first set.
#[test]
fn streams_that_end_at_once_cost_little_and_each_set_counts() {
    let ends = Behaviour { ends_streams: true, ..Behaviour::default() };
    let plane = ControlPlane::behaving(Set::new("1", "api\n  key 1/hour\n"), ends);
    let server = serve(&plane.url(), &QUICK);
    limit_becomes(&server, "api.key", Some(1));
    eventually("many streams", || plane.streams() > 15);
    plane.push(Set::new("2", "api\n  key 2/hour\n"));
    limit_becomes(&server, "api.key", Some(2));
    let lines = server.log().iter().filter(|line| line.contains("xDS:")).count();
    assert!(lines <= 2, "one connection and one end a minute: {:?}", server.log());
}

#[test]
fn without_flags_attempts_are_half_a_second_apart_at_most_at_first() {
    let mut plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    plane.restart(Set::new("1", "api\n  key 2/hour\n"));
    limit_becomes(&server, "api.key", Some(2));
}
