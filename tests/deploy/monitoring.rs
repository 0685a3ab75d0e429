//! What Prometheus and Grafana are given: custom resources, which have no schema here, and a dashboard.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chart;
use crate::documents::{Documents, list, selects, text_of};
use crate::tools::{Tool, in_repository};

fn case<'d>(rendered: &'d [Documents], name: &str) -> &'d Documents {
    rendered.iter().find(|documents| documents.name == name).unwrap()
}

#[test]
fn the_service_monitor_finds_the_port_of_the_service() {
    let Some(rendered) = chart::rendered() else { return };
    let documents = case(rendered, "monitoring by service");
    let monitor = documents.only("ServiceMonitor");
    let service = documents.only("Service");
    assert!(selects(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]));
    assert_eq!(
        service["metadata"]["labels"][text_of(&monitor["spec"]["jobLabel"])],
        "tidegate",
        "the job of the alerts"
    );
    let ports: BTreeSet<_> = list(&service["spec"]["ports"]).iter().map(|port| text_of(&port["name"])).collect();
    let endpoints = &monitor["spec"]["endpoints"];
    assert_eq!(endpoints, &json!([{"port": "metrics", "scheme": "http", "interval": "30s"}]));
    assert!(ports.contains("metrics"), "{ports:?}");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(keys(&monitor["spec"]), BTreeSet::from(["endpoints", "jobLabel", "selector"]));
}

#[test]
fn the_pod_monitor_finds_the_port_of_the_pods() {
    let Some(rendered) = chart::rendered() else { return };
    let documents = case(rendered, "monitoring by pod");
    let monitor = documents.only("PodMonitor");
    let found: Vec<_> = documents
        .workloads()
        .filter(|workload| selects(&monitor["spec"]["selector"]["matchLabels"], &workload.pod["metadata"]["labels"]))
        .collect();
    let [workload] = found.as_slice() else { panic!("{} workloads", found.len()) };
    assert!(workload.port_names().contains(&"metrics"));
    assert_eq!(
        workload.pod["metadata"]["labels"][text_of(&monitor["spec"]["jobLabel"])],
        "tidegate",
        "the job of the alerts"
    );
    let endpoints = &monitor["spec"]["podMetricsEndpoints"];
    assert_eq!(endpoints, &json!([{"port": "metrics", "scheme": "https", "interval": "15s"}]));
    assert_eq!(keys(&monitor["spec"]), BTreeSet::from(["jobLabel", "podMetricsEndpoints", "selector"]));
}

/// The rules of the custom resource are taken by Prometheus, and are those of deploy/prometheus, all of them.
#[test]
fn the_prometheus_rule_is_taken_by_promtool() {
    let Some((promtool, rendered)) = Tool::promtool().zip(chart::rendered()) else { return };
    let rule = case(rendered, "monitoring by service").only("PrometheusRule");
    assert_eq!(keys(&rule["spec"]), BTreeSet::from(["groups"]));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("rules.yaml").to_string_lossy().into_owned();
    fs::write(&file, rule["spec"].to_string()).unwrap();
    let counted = |file: &str| {
        let checked = promtool.run(&["check", "rules", file]).unwrap();
        checked.lines().find_map(|line| line.trim().strip_prefix("SUCCESS: ").map(str::to_owned)).unwrap()
    };
    let expected = counted(&in_repository("deploy/prometheus/alerts.yaml"));
    assert_eq!(counted(&file), expected);
}

#[test]
fn the_dashboard_is_that_of_deploy_grafana() {
    let Some(rendered) = chart::rendered() else { return };
    let documents = case(rendered, "monitoring by service");
    let map = documents.find("ConfigMap", &json!("shop-tidegate-dashboard")).unwrap();
    let dashboard: Value = serde_json::from_str(text_of(&map["data"]["tidegate.json"])).unwrap();
    let original = fs::read_to_string(in_repository("deploy/grafana/tidegate.json")).unwrap();
    assert_eq!(dashboard, serde_json::from_str::<Value>(&original).unwrap());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
