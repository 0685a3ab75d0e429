//! What documents say of each other is true: names, selectors, ports, keys.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::documents::{Documents, list, selects, text_of};
use crate::{chart, network, overlays, pod};

#[test]
fn the_chart_fits_together() {
    if let Some(rendered) = chart::rendered() {
        report(rendered);
    }
}

#[test]
fn the_overlays_fit_together() {
    if let Some(rendered) = overlays::rendered() {
        report(rendered);
    }
}

fn report(rendered: &[Documents]) {
    let findings: Vec<_> =
        rendered.iter().flat_map(|all| find(all).into_iter().map(|wrong| format!("{}: {wrong}", all.name))).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// Everything that is wrong.
fn find(documents: &Documents) -> Vec<String> {
    let mut wrong = Vec::new();
    names(documents, &mut wrong);
    references(documents, &mut wrong);
    network::find(documents, &mut wrong);
    for workload in documents.workloads() {
        pod::find(documents, workload, &mut wrong);
    }
    wrong
}

/// No two documents of a kind have one name, and all but the namespace itself are in one namespace.
fn names(documents: &Documents, wrong: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for document in &documents.all {
        let (kind, name) = (text_of(&document["kind"]), text_of(&document["metadata"]["name"]));
        if name.is_empty() || !seen.insert((kind, name)) {
            wrong.push(format!("{kind} {name:?} is there twice, or has no name"));
        }
    }
    for namespace in documents.of("Namespace") {
        let elsewhere = documents.all.iter().filter(|document| {
            document["kind"] != "Namespace" && document["metadata"]["namespace"] != namespace["metadata"]["name"]
        });
        wrong.extend(elsewhere.map(|document| format!("{} is not in the namespace", document["metadata"]["name"])));
    }
}

/// What names another document, or selects pods, finds them.
fn references(documents: &Documents, wrong: &mut Vec<String>) {
    let pods = |selector: &Value| {
        documents.workloads().filter(|workload| selects(selector, &workload.pod["metadata"]["labels"])).count()
    };
    for workload in documents.workloads().filter(|workload| workload.document["kind"] != "Pod") {
        if !selects(&workload.document["spec"]["selector"]["matchLabels"], &workload.pod["metadata"]["labels"]) {
            wrong.push(format!("{} does not select its own pods", workload.name()));
        }
    }
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        for document in documents.of(kind) {
            let spec = &document["spec"];
            let selector = if kind == "NetworkPolicy" { &spec["podSelector"] } else { &spec["selector"] };
            if pods(&selector["matchLabels"]) != 1 {
                wrong.push(format!("{kind} {} selects not one workload", document["metadata"]["name"]));
            }
        }
    }
    for scaler in documents.of("HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        match documents.find(text_of(&target["kind"]), &target["name"]) {
            None => wrong.push(format!("{target} is not there to be scaled")),
            Some(target) if !target["spec"]["replicas"].is_null() => {
                wrong.push("replicas are set, which each upgrade would scale to".to_owned());
            }
            Some(_) => {}
        }
        if list(&scaler["spec"]["metrics"]).is_empty() {
            wrong.push("an autoscaler without a metric".to_owned());
        }
    }
    for set in documents.of("StatefulSet") {
        let service = documents.find("Service", &set["spec"]["serviceName"]);
        if service.is_none_or(|service| service["spec"]["clusterIP"] != "None") {
            wrong.push("the StatefulSet has no headless Service".to_owned());
        }
    }
}

/// Each check finds its fault, planted into what is right.
#[test]
fn planted_faults_are_found() {
    let Some(rendered) = chart::rendered() else { return };
    let of = |name: &str| rendered.iter().find(|documents| documents.name == name).unwrap();
    let own = "rules of one's own, and all that concerns the pod";
    let everything = "every port, with TLS and tokens";
    for (case, old, new, found) in [
        (
            "defaults",
            "matchLabels:\n      app.kubernetes.io/name: tidegate",
            "matchLabels:\n      a: b",
            "does not select its own",
        ),
        ("defaults", "targetPort: metrics", "targetPort: metricz", "no port \"metricz\""),
        ("defaults", "{protocol: TCP, port: metrics}", "{protocol: TCP, port: grpc}", "metrics is admitted nowhere"),
        (
            own,
            "              app.kubernetes.io/name: tidegate-test",
            "              app.kubernetes.io/name: test",
            "reaches no port",
        ),
        ("defaults", "path: /livez, port: metrics", "path: /livez, port: 8082", "livenessProbe"),
        ("defaults", "configMap: {name: shop-tidegate-rules}", "configMap: {name: rules}", "no ConfigMap \"rules\""),
        (
            "defaults",
            "mountPath: /etc/tidegate/rules",
            "mountPath: /etc/rules",
            "--config=/etc/tidegate/rules is in no volume",
        ),
        ("defaults", "--json=off", "--jsn=off", "--jsn"),
        ("defaults", "--drain=5s", "--drain=soon", "--drain"),
        ("defaults", "--grpc-addr=0.0.0.0:8081", "--grpc-addr=0.0.0.0:8091", "8091"),
        ("defaults", "--http-addr=127.0.0.1:8080", "--http-addr=0.0.0.0:8080", "8080"),
        ("defaults", "terminationGracePeriodSeconds: 25", "terminationGracePeriodSeconds: 15", "killed"),
        (own, "--counter-memory=128MiB", "--counter-memory=1GiB", "counter-memory"),
        ("defaults", "drop: [ALL]", "drop: []", "capabilities"),
        ("defaults", "serviceAccountName: shop-tidegate", "serviceAccountName: x", "ServiceAccount"),
        (everything, "secret: {secretName: tokens, defaultMode: 0440}", "emptyDir: {}", "tokens.yaml"),
        (everything, "name: tls-admin, mountPath", "name: tls-admins, mountPath", "tls-admins"),
        ("a shared store", "--store=@/etc/tidegate/store/url", "--store=@/etc/store/url", "is in no volume"),
        ("a shared store", "secret: {secretName: counters,", "configMap: {name: shop-tidegate-rules,", "has no url"),
        ("a shared store", "egress:\n    - ports", "egress: []\n  a:\n    - ports", "connection to the store"),
        ("volumes", "serviceName: shop-tidegate", "serviceName: shop", "headless"),
        ("clients by certificate", "clients.yaml: |", "client.yaml: |", "clients.yaml"),
        (
            "autoscaling by CPU and checks",
            "  kind: Deployment\n    name: shop",
            "  kind: StatefulSet\n    name: shop",
            "to be scaled",
        ),
    ] {
        let right = of(case);
        assert!(right.text.contains(old), "{case} has no {old:?}:\n{}", right.text);
        let kinds: Vec<_> = {
            let mut kinds: Vec<_> = right.all.iter().map(|document| text_of(&document["kind"])).collect();
            kinds.sort_unstable();
            kinds
        };
        let planted = Documents::read(case, right.text.replace(old, new), &kinds.join(" "));
        let wrong = find(&planted);
        assert!(wrong.iter().any(|wrong| wrong.contains(found)), "{case}, {old} -> {new}: {wrong:?}");
    }
}
