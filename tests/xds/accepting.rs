//! What of a set comes into force.

use crate::control_plane::ControlPlane;
use crate::replica::{admin_page, check, health, limit, limit_becomes, serve, serve_with_state};
use crate::server::{eventually, run};
use crate::sets::{Set, any};

#[test]
fn a_set_comes_into_force_and_is_acknowledged() {
    let plane = ControlPlane::start(Set::new("7", "api\n  key 2/hour\n"));
    let server = serve(&plane.url(), &["--xds-node-metadata", "zone=a,tier=b", "--xds-headers", "X-Token:abc"]);
    let ack = plane.acked(0, "7");
    assert_eq!((ack.response_nonce.as_str(), ack.node.unwrap().id.as_str()), ("1", "test-node"));
    let first = &plane.requests_since(0)[0];
    assert_eq!((first.version_info.as_str(), first.response_nonce.as_str()), ("", ""));
    assert!(first.resource_names.is_empty(), "{first:?}");
    let node = first.node.as_ref().unwrap();
    assert_eq!(node.metadata.as_ref().unwrap().fields.len(), 2, "{node:?}");
    let crate::control_plane::Event::Stream(headers) = &plane.events()[0] else { panic!("{:?}", plane.events()) };
    assert_eq!(headers.get("x-token").unwrap(), "abc");

    limit_becomes(&server, "api.key", Some(2));
    let answers: Vec<_> = (0..3).map(|_| check(&server, "api", &[("key", "v")])).collect();
    assert_eq!(answers, ["OK", "OK", "OVER_LIMIT"]);
    assert_eq!(health(&server), 200);
    assert!(!server.log().join("\n").contains("abc"), "headers are secret");
}

#[test]
fn a_change_comes_into_force_and_keeps_the_counts() {
    let plane = ControlPlane::start(Set::new("1", "api\n  key 2/hour\n"));
    let server = serve(&plane.url(), &[]);
    limit_becomes(&server, "api.key", Some(2));
    assert_eq!(check(&server, "api", &[("key", "v")]), "OK");
    let before = plane.push(Set::new("2", "api\n  key 3/hour\nother\n  key 1/hour\n"));
    plane.acked(before, "2");
    let answers: Vec<_> = (0..3).map(|_| check(&server, "api", &[("key", "v")])).collect();
    assert_eq!(answers, ["OK", "OK", "OVER_LIMIT"], "one was charged before the change");
    assert_eq!(limit(&server, "other.key"), Some(1));
    // What a set lacks is removed.
    let before = plane.push(Set::new("3", "other\n  key 1/hour\n"));
    plane.acked(before, "3");
    assert_eq!((limit(&server, "api.key"), check(&server, "api", &[("key", "v")])), (None, "OK".to_owned()));
}

/// Envoy Gateway accepts a policy with the same addresses once `Exact` and once `Distinct`.
#[test]
fn siblings_merge_unless_both_have_a_limit() {
    let siblings = "gw\n  cidr=10.0.0.0/8 5/hour\n  cidr=10.0.0.0/8\n    remote_address 7/hour\n";
    let plane = ControlPlane::start(Set::new("1", siblings));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    assert_eq!(limit(&server, "gw.cidr_10.0.0.0/8"), Some(5));
    assert_eq!(limit(&server, "gw.cidr_10.0.0.0/8.remote_address"), Some(7));

    let before = plane.push(Set::new("2", "gw\n  key=v 5/hour\n  key=v 6/hour\n"));
    let (nack, message) = plane.nacked(before);
    assert_eq!((nack.version_info.as_str(), nack.response_nonce.as_str()), ("1", "2"), "the last good version");
    assert!(
        message.starts_with("gw:") && message.contains("duplicate descriptor composite key 'gw.key_v'"),
        "{message}"
    );
    assert_eq!(limit(&server, "gw.cidr_10.0.0.0/8"), Some(5), "the rules before stay");
}

#[test]
fn good_domains_come_into_force_and_bad_ones_keep_their_rules() {
    let plane = ControlPlane::start(Set::new("1", "a\n  key 1/hour\nb\n  key 1/hour\nc\n  key 1/hour\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    let before =
        plane.push(Set::new("2", "a\n  key 2/hour\nb\n  key 2/fortnight\n  =v 1/hour\nnew\n  key 1/fortnight\n"));
    let (_, message) = plane.nacked(before);
    for expected in ["invalid rate limit unit '99'", "descriptor has empty key", "new:"] {
        assert!(message.contains(expected), "every error is in the NACK: {message}");
    }
    assert_eq!(limit(&server, "a.key"), Some(2), "a good domain");
    assert_eq!(limit(&server, "b.key"), Some(1), "one with errors");
    assert_eq!(limit(&server, "c.key"), None, "one that is gone");
    assert_eq!(server.metric("tidegate_xds_outdated_domains"), 1);
    assert_eq!(server.metric("tidegate_xds_missing_domains"), 1);
    let (status, ready) = server.http("GET", "/readyz", b"");
    assert!(status == 200 && ready.contains("control plane: 1 domains with errors keep their former rules"), "{ready}");
    assert!(ready.contains("invalid rate limit unit"), "{ready}");

    let before = plane.push(Set::new("3", "a\n  key 3/hour\nb\n  key 3/hour\n"));
    plane.acked(before, "3");
    assert_eq!((limit(&server, "a.key"), limit(&server, "b.key")), (Some(3), Some(3)));
    assert_eq!(server.metric("tidegate_xds_outdated_domains"), 0);
    assert!(!server.http("GET", "/readyz", b"").1.contains("last reload failed"));
}

#[test]
fn what_cannot_be_read_may_be_any_domain_that_is_missing() {
    let plane = ControlPlane::start(Set::new("1", "a\n  key 1/hour\nb\n  key 1/hour\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    let mut foreign = any(Vec::new());
    foreign.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    for (version, resource, expected) in [
        ("2", any(vec![0xff; 40]), "cannot be read"),
        ("3", foreign, "envoy.config.cluster.v3.Cluster"),
        ("4", any(vec![0x12, 0x00]), "config file cannot have empty domain"),
    ] {
        let limit_of_a = version.parse().unwrap();
        let before = plane.push(Set::new(version, &format!("a\n  key {version}/hour\n")).with(resource));
        let (nack, message) = plane.nacked(before);
        assert_eq!(nack.version_info, "1");
        assert!(message.contains(expected), "{message}");
        assert_eq!((limit(&server, "a.key"), limit(&server, "b.key")), (Some(limit_of_a), Some(1)), "{version}");
    }
}

#[test]
fn an_empty_set_is_valid_with_and_without_a_version() {
    let plane = ControlPlane::start(Set::new("1", "api\n  key 0/hour\n"));
    let server = serve(&plane.url(), &[]);
    plane.acked(0, "1");
    assert_eq!(check(&server, "api", &[("key", "v")]), "OVER_LIMIT");
    for version in ["2", ""] {
        let before = plane.push(Set::new(version, ""));
        plane.acked(before, version);
        assert_eq!(check(&server, "api", &[("key", "v")]), "OK");
        assert_eq!(health(&server), 200);
        let before = plane.push(Set::new("9", "api\n  key 0/hour\n"));
        plane.acked(before, "9");
    }
}

#[test]
fn a_domain_can_be_required() {
    let plane = ControlPlane::start(Set::new("1", ""));
    let server = serve(&plane.url(), &["--domain-required"]);
    plane.acked(0, "1");
    assert_eq!((health(&server), server.http("GET", "/readyz", b"").0), (500, 503));
    let grpc = || run(&["health", "--timeout", "20s", "--addr", &format!("http://{}", server.grpc)], "").0;
    assert_eq!(grpc(), Some(1));
    let before = plane.push(Set::new("2", "api\n  key 1/hour\n"));
    plane.acked(before, "2");
    assert_eq!((health(&server), server.http("GET", "/readyz", b"").0, grpc()), (200, 200, Some(0)));
    let before = plane.push(Set::new("3", ""));
    plane.acked(before, "3");
    assert_eq!(health(&server), 500);
}

#[test]
fn several_resources_may_extend_one_domain_if_that_is_allowed() {
    let twice = || Set::new("1", "api\n  a 1/hour\napi\n  b 2/hour\n");
    let plane = ControlPlane::start(twice());
    let server = serve(&plane.url(), &["--merge-domains"]);
    plane.acked(0, "1");
    assert_eq!((limit(&server, "api.a"), limit(&server, "api.b")), (Some(1), Some(2)));

    let plane = ControlPlane::start(twice());
    let server = serve(&plane.url(), &[]);
    let (_, message) = plane.nacked(0);
    assert!(message.contains("duplicate domain 'api' in config file"), "{message}");
    assert_eq!(health(&server), 500);
}

#[test]
fn the_set_is_shown_as_rules_files() {
    let plane = ControlPlane::start(Set::new("1", "a\n  key=\"x 1/hour\nb\n  key 1/fortnight\n"));
    let server = serve(&plane.url(), &[]);
    plane.nacked(0);
    let all = admin_page(&server, "/xds");
    assert!(all.starts_with("# version '1', received "), "{all}");
    assert!(all.contains("\n---\n# a\ndomain: \"a\"\n") && all.contains("\n---\n# b\n# error: b:"), "{all}");
    let one = admin_page(&server, "/xds?domain=a");
    assert!(!one.contains("\"b\""), "{one}");
    let (code, stdout, stderr) = run(&["check", "-"], &one);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (code, stdout, stderr) = run(&["check", "-"], &admin_page(&server, "/xds?domain=b"));
    assert!(code == Some(1) && format!("{stdout}{stderr}").contains("invalid rate limit unit"), "{stdout}{stderr}");
}

#[test]
fn the_last_good_set_is_in_force_again_after_a_restart_without_the_control_plane() {
    let state = tempfile::tempdir().unwrap();
    let mut plane = ControlPlane::start(Set::new("1", "api\n  key 2/hour\n"));
    let mut server = serve_with_state(&plane.url(), &state);
    plane.acked(0, "1");
    assert_eq!(check(&server, "api", &[("key", "v")]), "OK");
    // Of a set with errors, what is in force is kept.
    let before = plane.push(Set::new("2", "api\n  key 2/fortnight\nother\n  key 1/hour\n"));
    plane.nacked(before);
    server.signal("TERM");
    assert!(server.wait().success());
    plane.go_away();

    let server = serve_with_state(&plane.url(), &state);
    assert_eq!(health(&server), 200);
    assert_eq!(limit(&server, "other.key"), Some(1));
    let answers: Vec<_> = (0..2).map(|_| check(&server, "api", &[("key", "v")])).collect();
    assert_eq!(answers, ["OK", "OVER_LIMIT"], "the counts are there again, too");
    plane.restart(Set::new("1", "api\n  key 5/hour\n"));
    limit_becomes(&server, "api.key", Some(5));
    assert_eq!(limit(&server, "other.key"), None);
}

#[test]
fn a_damaged_file_of_the_last_set_is_set_aside() {
    let state = tempfile::tempdir().unwrap();
    std::fs::write(state.path().join("xds.set"), "not a set").unwrap();
    let plane = ControlPlane::start(Set::new("1", "api\n  key 2/hour\n"));
    let server = serve_with_state(&plane.url(), &state);
    server.log_until("set aside as");
    limit_becomes(&server, "api.key", Some(2));
    assert!(state.path().join("xds.damaged").exists());
    // It is written after the rules have come into force.
    eventually("the new file", || state.path().join("xds.set").exists());
}
