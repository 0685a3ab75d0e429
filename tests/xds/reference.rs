//! The scenarios that envoyproxy/ratelimit tests its own client with (`test/integration/xds_sotw_integration_test.go` and
//! `test/provider/xds_grpc_sotw_provider_test.go` there): a basic set, a reload, another domain, deeper limits, a domain twice, a control plane that
//! is away.

use crate::control_plane::ControlPlane;
use crate::replica::{check, limit, limit_becomes, serve};
use crate::server::{eventually, next_minute_if_late};
use crate::sets::Set;

const BASIC: &str = "basic\n  key1 50/second\n  key1_local 50/second\n  one_per_minute 1/minute\nanother\n  key2 20/minute\n  key3 10/hour\n  \
                     key2_local 20/minute\n  key3_local 10/hour\n  key4 20/day\n  key4_local 20/day\n";

const RELOAD: &str = "reload\n  key1 50/second\n  block 0/second\n  one_per_minute 1/minute\n";

fn answers(server: &crate::TestServer, domain: &str, key: &str, checks: usize) -> (usize, usize) {
    let answers: Vec<_> = (0..checks).map(|_| check(server, domain, &[(key, "foo")])).collect();
    let count = |wanted: &str| answers.iter().filter(|answer| *answer == wanted).count();
    (count("OK"), count("OVER_LIMIT"))
}

#[test]
fn basic() {
    let plane = ControlPlane::start(Set::new("1", BASIC));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    assert_eq!(check(&server, "foo", &[("hello", "world")]), "OK", "an unknown domain");
    next_minute_if_late();
    assert_eq!(answers(&server, "basic", "key1", 1), (1, 0));
    assert_eq!(answers(&server, "basic", "one_per_minute", 3), (1, 2));
    assert_eq!(answers(&server, "another", "key2", 25), (20, 5));
    assert_eq!(answers(&server, "another", "key3", 15), (10, 5));
    assert_eq!(answers(&server, "another", "key4", 25), (20, 5));
}

#[test]
fn reload() {
    let plane = ControlPlane::start(Set::new("1", BASIC));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    assert_eq!(answers(&server, "reload", "block", 3), (3, 0), "its domain is not there yet");
    let loaded = server.metric("ratelimit_service_config_load_success");
    let before = plane.push(Set::new("2", &format!("{BASIC}{RELOAD}")));
    plane.acked(before, "2");
    eventually("a load", || server.metric("ratelimit_service_config_load_success") > loaded);
    next_minute_if_late();
    assert_eq!(answers(&server, "reload", "key1", 1), (1, 0));
    assert_eq!(answers(&server, "reload", "block", 3), (0, 3));
    assert_eq!(answers(&server, "reload", "one_per_minute", 3), (1, 2));
    let before = plane.push(Set::new("3", BASIC));
    plane.acked(before, "3");
    assert_eq!((limit(&server, "reload.block"), answers(&server, "reload", "block", 3)), (None, (3, 0)));
}

#[test]
fn one_domain_several_and_deeper_limits() {
    let plane = ControlPlane::start(Set::new("1", "foo\n  k1=v1 3/minute\n"));
    let server = serve(&plane.url(), &[]);
    limit_becomes(&server, "foo.k1_v1", Some(3));
    let deeper =
        "foo\n  k1=v1 10/minute\n  k1=v2 20/hour\n    k2 30/day\n      k3=v3 5/second\nbar\n  k1=v1 100/minute\n";
    for (version, text, limits) in [
        ("2", "foo\n  k2=v2 5/minute\n", &[("foo.k2_v2", Some(5)), ("foo.k1_v1", None)][..]),
        (
            "3",
            "foo\n  k1=v1 10/minute\nbar\n  k1=v1 100/minute\n",
            &[("foo.k1_v1", Some(10)), ("bar.k1_v1", Some(100))],
        ),
        ("4", deeper, &[("foo.k1_v2", Some(20)), ("foo.k1_v2.k2", Some(30)), ("foo.k1_v2.k2.k3_v3", Some(5))][..]),
    ] {
        let before = plane.push(Set::new(version, text));
        plane.acked(before, version);
        for (rule, expected) in limits {
            assert_eq!(limit(&server, rule), *expected, "{version}: {rule}");
        }
    }
}

/// There all of the set is rejected; here the domain that is twice keeps its rules, and the other one comes into force.
#[test]
fn the_same_domain_several_times() {
    let plane = ControlPlane::start(Set::new("1", "foo\n  k1=v1 3/minute\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    let before = plane.push(Set::new("2", "foo\n  k1=v1 10/minute\nfoo\n  k1=v2 100/minute\nbar\n  k 1/minute\n"));
    let (nack, message) = plane.nacked(before);
    assert_eq!(nack.version_info, "1");
    assert!(message.contains("duplicate domain 'foo' in config file"), "{message}");
    assert_eq!((limit(&server, "foo.k1_v1"), limit(&server, "foo.k1_v2")), (Some(3), None));
    assert_eq!(limit(&server, "bar.k"), Some(1));
    assert_eq!(server.metric("ratelimit_service_config_load_error"), 1);
}

/// There the client connects again after 10 s; here the pause is the flags'.
#[test]
fn back_off_while_the_control_plane_is_away() {
    let mut plane = ControlPlane::start(Set::new("1", BASIC));
    let server = serve(&plane.url(), &["--xds-retry", "20ms", "--xds-retry-max", "40ms"]);
    plane.acked(0, "1");
    plane.go_away();
    eventually("several attempts", || server.metric("tidegate_xds_failures_total") >= 5);
    assert_eq!(answers(&server, "another", "key3", 11), (10, 1), "the rules stay");
    let said = server.log().iter().filter(|line| line.contains("connecting is tried again")).count();
    assert_eq!(said, 1, "{:?}", server.log());
    plane.restart(Set::new("1", &format!("{BASIC}{RELOAD}")));
    limit_becomes(&server, "reload.block", Some(0));
}
