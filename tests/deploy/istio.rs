//! The EnvoyFilter of docs/KUBERNETES.md: its values, in a real Envoy. Where Istio puts them is played.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chart;
use crate::client::Client;
use crate::documents::{list, parse, text_of};
use crate::proxy::{self, Envoy};
use crate::rolling::gateway;
use crate::server::{DEADLINE, ReservedPort, TestServer, wait_for};
use crate::tools::{Tool, in_repository};

#[test]
fn the_values_of_the_envoy_filter_limit() {
    let Some(binary) = proxy::installed() else { return };
    let rules = "domain: api\ndescriptors:\n  - key: partner\n    rate_limit: {unit: year, requests_per_unit: 5}\n";
    let tidegate = TestServer::start(rules, &[]);
    let (dir, service) = (TempDir::new().unwrap(), ReservedPort::new());
    let mut bootstrap = parse(&gateway("20s", service.port, "")).remove(0);
    let resources = &mut bootstrap["static_resources"];
    let mut cluster = value("CLUSTER");
    let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    endpoint["address"]["socket_address"] = json!({"address": "localhost", "port_value": tidegate.grpc_addr().port()});
    // Only the addresses on which Tidegate listens.
    cluster["dns_lookup_family"] = json!("V4_ONLY");
    cluster["health_checks"][0]["timeout"] = json!("20s");
    resources["clusters"].as_array_mut().unwrap().push(cluster);
    let manager = &mut resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"][0] = value("HTTP_FILTER");
    // On a busy machine an answer may take longer than Envoy waits in production; the timeout is not what is tested.
    manager["http_filters"][0]["typed_config"]["timeout"] = json!("20s");
    let host = &mut manager["route_config"]["virtual_hosts"][0];
    host["routes"][0]["route"] = json!({"cluster": "upstream"});
    host.as_object_mut().unwrap().extend(value("VIRTUAL_HOST").as_object().unwrap().clone());
    let envoy = Envoy::start(&binary, dir.path(), &bootstrap.to_string(), 1);
    let healthy = || (envoy.stat("cluster.tidegate.membership_healthy") == 1).then_some(());
    wait_for("a healthy Tidegate", DEADLINE, healthy);
    let mut client = Client::to(envoy.gateway);
    let statuses: Vec<_> = (0..6).map(|_| client.get("/", &[("x-partner", b"acme")]).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    assert_eq!(envoy.rls_errors(), 0);
}

/// The cluster is the one that an install prints.
#[test]
fn the_cluster_of_the_envoy_filter_is_that_of_the_notes() {
    let Some(helm) = Tool::helm() else { return };
    let printed = chart::cluster(&chart::notes(&helm, &["--set", "fullnameOverride=tidegate"]));
    assert_eq!(parse(&printed)[0][0], value("CLUSTER"));
}

/// The value of the patch that is applied to this.
fn value(applied_to: &str) -> Value {
    let page = fs::read_to_string(in_repository("docs/KUBERNETES.md")).unwrap();
    let (_, filter) = page.split_once("kind: EnvoyFilter\n").unwrap();
    let (filter, _) = filter.split_once("```").unwrap();
    let filter = parse(filter).remove(0);
    let patch = list(&filter["spec"]["configPatches"]).iter().find(|patch| text_of(&patch["applyTo"]) == applied_to);
    patch.unwrap()["patch"]["value"].clone()
}
