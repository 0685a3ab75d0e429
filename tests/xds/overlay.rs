//! Keys laid over the rules of a control plane.

use crate::control_plane::ControlPlane;
use crate::replica::{admin_page, check, command, limit, limit_becomes, serve};
use crate::server::{ReservedPort, eventually, run};
use crate::sets::Set;

const GENERATED: &str =
    "gw/eg/http\n  httproute/default/shop/rule/0/match/0/*\n    rule-0-match-0 2/hour\n    rule-1-match-0 2/hour\n";

/// A period of 30 s for one rule, and headers for the whole domain.
const OVERLAY: &str = "overlay:\n- domain: gw/*\n  response: {headers: [x_ratelimit]}\n  rules:\n  - path: '*.rule-0-match-0'\n    \
                       rate_limit: {period: 30s, algorithm: sliding_log}\n";

fn shown(server: &crate::TestServer, rule: &str) -> String {
    let text = admin_page(server, "/rlconfig");
    text.lines().find(|line| line.contains(rule)).unwrap_or_default().to_owned()
}

#[test]
fn keys_are_laid_over_what_the_control_plane_sends_and_follow_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("overlay.yaml");
    std::fs::write(&path, OVERLAY).unwrap();
    let plane = ControlPlane::start(Set::new("1", GENERATED));
    let server = serve(&plane.url(), &["--overlay", path.to_str().unwrap()]);
    plane.acked(0, "1");
    assert!(
        shown(&server, "rule-0-match-0").contains("period=30s requests_per_unit=2"),
        "{}",
        admin_page(&server, "/rlconfig")
    );
    assert!(shown(&server, "rule-1-match-0").contains("unit=HOUR requests_per_unit=2"));
    let entries = [("httproute/default/shop/rule/0/match/0/*", ""), ("rule-0-match-0", "ann")];
    let answers: Vec<_> = (0..3).map(|_| check(&server, "gw/eg/http", &entries)).collect();
    assert_eq!(answers, ["OK", "OK", "OVER_LIMIT"]);

    // The next set has it, too.
    let before = plane.push(Set::new("2", &GENERATED.replace("2/hour", "3/hour")));
    plane.acked(before, "2");
    assert!(shown(&server, "rule-0-match-0").contains("period=30s requests_per_unit=3"));

    std::fs::write(&path, OVERLAY.replace("30s", "45s")).unwrap();
    eventually("the changed overlay", || shown(&server, "rule-0-match-0").contains("period=45s"));
    std::fs::write(&path, OVERLAY.replace("30s", "soon")).unwrap();
    server.log_until("the overlay cannot be used");
    assert!(shown(&server, "rule-0-match-0").contains("period=45s"), "that before the change stays");
}

#[test]
fn what_no_rule_matches_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("overlay.yaml");
    std::fs::write(&path, OVERLAY.replace("rule-0-match-0", "rule-7-match-0")).unwrap();
    let plane = ControlPlane::start(Set::new("1", GENERATED));
    let server = serve(&plane.url(), &["--overlay", path.to_str().unwrap()]);
    server.log_until("inactive: no rule of a domain that matches 'gw/*' has a path that matches '*.rule-7-match-0'");
    limit_becomes(&server, "gw/eg/http.httproute/default/shop/rule/0/match/0/*.rule-0-match-0", Some(2));
}

#[test]
fn an_overlay_is_checked_with_and_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let rules = file(
        "rules.yaml",
        "domain: gw/one\ndescriptors: [{key: rule-0-match-0, rate_limit: {unit: hour, requests_per_unit: 2}}]\n",
    );
    let good = file("good.yaml", &OVERLAY.replace("*.rule", "rule"));
    let (code, stdout, stderr) = run(&["check", "--strict", "--overlay", &good, &rules], "");
    assert!(code == Some(0) && stdout.contains("sliding_log"), "{stdout}{stderr}");
    let idle = file("idle.yaml", OVERLAY);
    let (code, stdout, stderr) = run(&["check", "--strict", "--overlay", &idle, &rules], "");
    assert!(code == Some(1) && stderr.contains("idle.yaml:5: inactive"), "{stdout}{stderr}");
    let bad = file("bad.yaml", "overlay:\n- domain: x\n  rules: [{rate_limit: {burst: 3}}]\n");
    let (code, stdout, stderr) = run(&["check", "--overlay", &bad, &rules], "");
    assert!(code == Some(1) && stderr.contains("bad.yaml:3: 'burst' belongs to"), "{stdout}{stderr}");

    let output = command("http://127.0.0.1:1", &["--overlay", &bad]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.contains("bad.yaml:3: 'burst' belongs to"), "{text}");
}

/// In a cluster some limits cannot be charged together: that is an error wherever the rules come from.
#[test]
fn what_a_cluster_cannot_charge_is_rejected_in_sets_overlays_and_candidates() {
    let store = ReservedPort::new();
    let dir = tempfile::tempdir().unwrap();
    let overlay = dir.path().join("overlay.yaml");
    let write = |sharing: &str| {
        let text = format!(
            "overlay:\n- domain: gw\n  charge: all_or_nothing\n{sharing}  rules: [{{rate_limit: {{algorithm: sliding_log}}}}]\n"
        );
        std::fs::write(dir.path().join("new"), text).unwrap();
        std::fs::rename(dir.path().join("new"), &overlay).unwrap();
    };
    write("");
    let tenants = "gw\n  tenant 9/hour\n    user 2/hour\nother\n  key 1/hour\n";
    let plane = ControlPlane::start(Set::new("1", tenants));
    let url = format!("redis+cluster://127.0.0.1:{}", store.port);
    let server = serve(&plane.url(), &["--store", &url, "--overlay", overlay.to_str().unwrap()]);
    let (_, message) = plane.nacked(0);
    assert!(
        message.contains("rule 'gw.tenant.user' is charged all or nothing") && message.contains("slot"),
        "{message}"
    );
    assert_eq!((limit(&server, "gw.tenant"), limit(&server, "other.key")), (None, Some(1)));

    // With a slot it can, once the control plane has sent it again.
    write("  sharing: {slot: tenant}\n");
    server.log_until("with another overlay");
    let before = plane.push(Set::new("2", tenants));
    plane.acked(before, "2");
    limit_becomes(&server, "gw.tenant.user", Some(2));

    write("");
    server.log_until("the overlay cannot be used");
    assert!(server.log().join("\n").contains("rule 'gw.tenant.user' is charged all or nothing"));
    assert_eq!(limit(&server, "gw.tenant.user"), Some(2));

    let rules = dir.path().join("candidate.yaml");
    let tenant = "{key: tenant, rate_limit: {unit: hour, requests_per_unit: 9, algorithm: sliding_log}, descriptors: [\
                  {key: user, rate_limit: {unit: hour, requests_per_unit: 2, algorithm: sliding_log}}]}";
    let text = format!("domain: gw\ncharge: all_or_nothing\ndescriptors: [{tenant}]\n");
    std::fs::write(&rules, &text).unwrap();
    let start = ["candidate", "start", rules.to_str().unwrap(), "--admin-addr", &server.admin];
    let (code, stdout, stderr) = run(&start, "");
    assert!(code == Some(1) && stderr.contains("is charged all or nothing with other rules"), "{stdout}{stderr}");
}
