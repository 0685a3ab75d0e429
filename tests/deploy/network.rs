//! Services and NetworkPolicies: who reaches which port.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::documents::{Documents, Workload, list, selects, text_of};
use crate::pod::flag;

/// What is wrong with the ports of Services and NetworkPolicies.
pub(crate) fn find(documents: &Documents, wrong: &mut Vec<String>) {
    for service in documents.of("Service") {
        ports_of_service(documents, service, wrong);
    }
    for policy in documents.of("NetworkPolicy") {
        ports_of_policy(documents, policy, wrong);
    }
}

fn ports_of_service(documents: &Documents, service: &Value, wrong: &mut Vec<String>) {
    let (name, selector) = (&service["metadata"]["name"], &service["spec"]["selector"]);
    let selected: Vec<_> = selected(documents, selector).collect();
    let [workload] = selected.as_slice() else {
        return wrong.push(format!("Service {name} selects {} workloads", selected.len()));
    };
    for port in list(&service["spec"]["ports"]) {
        let target = text_of(&port["targetPort"]);
        if !workload.port_names().contains(&target) {
            wrong.push(format!("Service {name}: the pod has no port {target:?}"));
        }
        let expected = match target {
            "grpc" | "admin" if !has_tls(*workload, target) => "kubernetes.io/h2c",
            "http" | "metrics" if !has_tls(*workload, "http") => "http",
            "gateway" => "http",
            _ => "https",
        };
        if port["appProtocol"] != expected {
            wrong.push(format!("Service {name}, port {target}: {} is not {expected}", port["appProtocol"]));
        }
    }
    // Envoy's balancing needs the pods' own addresses.
    let has_grpc = list(&service["spec"]["ports"]).iter().any(|port| port["targetPort"] == "grpc");
    if has_grpc && service["spec"]["clusterIP"] != "None" {
        wrong.push(format!("Service {name} has a cluster address"));
    }
}

fn has_tls(workload: Workload<'_>, port: &str) -> bool {
    let flag = format!("--{port}-tls-cert=");
    let args = workload.server().map(|server| list(&server["args"])).unwrap_or_default();
    args.iter().any(|arg| text_of(arg).starts_with(&flag))
}

/// The policy admits to the ports that the pod has, to each exactly once, and to no other; nobody is admitted to all ports.
fn ports_of_policy(documents: &Documents, policy: &Value, wrong: &mut Vec<String>) {
    let spec = &policy["spec"];
    for workload in selected(documents, &spec["podSelector"]["matchLabels"]) {
        let exposed: BTreeSet<_> = workload.port_names().into_iter().collect();
        let mut admitted = BTreeSet::new();
        for rule in list(&spec["ingress"]) {
            if list(&rule["from"]).is_empty() || list(&rule["ports"]).is_empty() {
                wrong.push(format!("a rule admits everybody, or to every port: {rule}"));
            }
            let ports = list(&rule["ports"]).iter().map(|port| text_of(&port["port"]));
            if is_of_a_test(documents, rule) {
                wrong.extend(ports.filter(|port| *port != "grpc").map(|port| format!("a test is admitted to {port}")));
                continue;
            }
            for port in ports.filter(|port| !admitted.insert(*port)) {
                wrong.push(format!("{port} is admitted twice"));
            }
        }
        for pod in documents.of("Pod") {
            let selectors = list(&spec["ingress"]).iter().flat_map(|rule| list(&rule["from"]));
            let mut selectors = selectors.map(|peer| &peer["podSelector"]["matchLabels"]);
            if !selectors.any(|selector| selects(selector, &pod["metadata"]["labels"])) {
                wrong.push(format!("the test {} reaches no port", pod["metadata"]["name"]));
            }
        }
        wrong.extend(
            admitted.difference(&exposed).map(|port| format!("{port} is admitted, and the pod has no such port")),
        );
        wrong.extend(exposed.difference(&admitted).map(|port| format!("{port} is admitted nowhere")));
        let asks_a_store = workload.server().is_some_and(|server| flag(server, "--store").is_some());
        if asks_a_store && list(&spec["egress"]).is_empty() {
            wrong.push("no connection to the store leaves the pod".to_owned());
        }
        let types: Vec<_> = list(&spec["policyTypes"]).iter().map(text_of).collect();
        if types != ["Ingress", "Egress"] {
            wrong.push(format!("the policy is about {types:?} only"));
        }
    }
}

/// Whether a rule is for the pods of `helm test` alone.
fn is_of_a_test(documents: &Documents, rule: &Value) -> bool {
    let tests = |peer: &Value| {
        documents.of("Pod").any(|pod| selects(&peer["podSelector"]["matchLabels"], &pod["metadata"]["labels"]))
    };
    list(&rule["from"]).iter().all(tests)
}

fn selected<'d>(documents: &'d Documents, selector: &'d Value) -> impl Iterator<Item = Workload<'d>> {
    documents.workloads().filter(move |workload| selects(selector, &workload.pod["metadata"]["labels"]))
}
