//! The Helm chart, over a matrix of values.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::documents::{Documents, list, parse};
use crate::tools::{Tool, in_repository};

/// Values, and the kinds of what they make.
struct Case {
    name: &'static str,
    values: &'static str,
    kinds: &'static str,
}

const CASES: [Case; 14] = [
    Case { name: "defaults", values: "{}", kinds: "ConfigMap Deployment NetworkPolicy Pod Service ServiceAccount" },
    Case {
        name: "two pods",
        values: "{replicas: 2}",
        kinds: "ConfigMap Deployment NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount",
    },
    Case {
        name: "every port, with TLS and tokens",
        values: r"
json: {enabled: true}
tls: {grpc: {secretName: grpc-tls}, http: {secretName: http-tls}, admin: {secretName: admin-tls}}
admin: {service: {enabled: true}, tokensSecret: tokens}
networkPolicy: {operators: [{namespaceSelector: {matchLabels: {team: operators}}}]}
",
        kinds: "ConfigMap Deployment NetworkPolicy Pod Service Service ServiceAccount",
    },
    Case {
        name: "clients by certificate",
        values: r#"
tls: {grpc: {secretName: grpc-tls, clientCA: true}}
access: {clients: [{san: "spiffe://cluster.local/ns/shop/*", domains: [shop]}, {san: "DNS:gw.example.org", domains: ["*"]}]}
"#,
        kinds: "ConfigMap ConfigMap Deployment NetworkPolicy Service ServiceAccount",
    },
    Case {
        name: "an open admin port",
        values: r"
admin: {service: {enabled: true}, open: true}
networkPolicy: {operators: [{podSelector: {matchLabels: {role: operator}}}]}
",
        kinds: "ConfigMap Deployment NetworkPolicy Pod Service Service ServiceAccount",
    },
    Case {
        name: "volumes",
        values: "{replicas: 3, persistence: {enabled: true, size: 10Gi, storageClass: fast, stateFlush: 500ms}}",
        kinds: "ConfigMap NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount StatefulSet",
    },
    Case {
        name: "a shared store",
        values: r#"
replicas: 2
sharing: {urlSecret: counters, prefix: "shop:", timeout: 20ms, whenDown: deny, replicas: 2, required: true}
networkPolicy: {egress: [{ports: [{protocol: TCP, port: 6379}]}]}
"#,
        kinds: "ConfigMap Deployment NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount",
    },
    Case {
        name: "a shared store with TLS, and volumes",
        values: r"
replicas: 3
sharing: {urlSecret: counters, urlKey: url, tls: {secretName: store-tls, clientCertificate: true}}
persistence: {enabled: true}
networkPolicy: {enabled: false}
",
        kinds: "ConfigMap Pod PodDisruptionBudget Service ServiceAccount StatefulSet",
    },
    Case {
        name: "autoscaling by CPU and checks",
        values: "{autoscaling: {enabled: true, maxReplicas: 9, cpuPercent: 70, checksPerSecond: 20000}}",
        kinds: "ConfigMap Deployment HorizontalPodAutoscaler NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount",
    },
    Case {
        name: "autoscaling of volumes by checks",
        values: "{persistence: {enabled: true}, autoscaling: {enabled: true, cpuPercent: 0, checksPerSecond: 20000}}",
        kinds: "ConfigMap HorizontalPodAutoscaler NetworkPolicy Pod PodDisruptionBudget Service ServiceAccount StatefulSet",
    },
    Case {
        name: "monitoring by service",
        values: r"
monitoring:
  serviceMonitor: {enabled: true, labels: {release: prometheus}, interval: 30s}
  prometheusRule: {enabled: true, labels: {release: prometheus}}
  dashboard: {enabled: true}
",
        kinds: "ConfigMap ConfigMap Deployment NetworkPolicy Pod PrometheusRule Service ServiceAccount ServiceMonitor",
    },
    Case {
        name: "monitoring by pod",
        values: "{tls: {http: {secretName: http-tls}}, monitoring: {podMonitor: {enabled: true}}}",
        kinds: "ConfigMap Deployment NetworkPolicy Pod PodMonitor Service ServiceAccount",
    },
    Case {
        name: "rules of one's own, and all that concerns the pod",
        values: r#"
fullnameOverride: limits-of-the-shop
image: {repository: registry.example.org/tidegate, digest: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", pullPolicy: Always, pullSecrets: [registry]}
rules:
  mergeDomains: true
  files:
    one.yaml: "domain: shop\ndescriptors:\n  - key: user\n    rate_limit: {unit: minute, requests_per_unit: 10}\n"
    two.yaml: "domain: shop\ndescriptors:\n  - key: tenant\n    rate_limit: {unit: minute, requests_per_unit: 100}\n"
shutdown: {preStopSeconds: 0, drainSeconds: 10, deadlineSeconds: 40}
minReadySeconds: 30
counterMemory: 128MiB
whenFull: allow
workers: 2
usageSeries: 500
denialLog: sampled
settings: read-only
log: {format: text, level: "info,tidegate::grpc=debug"}
extraArgs: [--max-connections=50000, --shadow-mode]
extraEnv: [{name: OTEL_SDK_DISABLED, value: "true"}]
extraVolumes: [{name: scratch, emptyDir: {}}]
extraVolumeMounts: [{name: scratch, mountPath: /scratch}]
service: {annotations: {a: b}}
serviceAccount: {annotations: {a: b}}
podLabels: {team: shop}
podAnnotations: {a: "1"}
nodeSelector: {disk: fast}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
priorityClassName: system-cluster-critical
topologySpread: []
networkPolicy:
  clients: [{namespaceSelector: {matchLabels: {team: shop}}, podSelector: {matchLabels: {app: envoy}}}]
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{protocol: TCP, port: 443}]}]
"#,
        kinds: "ConfigMap Deployment NetworkPolicy Pod Service ServiceAccount",
    },
    Case {
        name: "as little as possible",
        values: r#"
replicas: 2
listenAddress: "[::]"
rules: {existingConfigMap: my-rules}
networkPolicy: {enabled: false}
serviceAccount: {create: false}
podDisruptionBudget: {enabled: false}
"#,
        kinds: "Deployment Pod Service",
    },
];

/// What all values of the matrix make; none without helm.
pub(crate) fn rendered() -> Option<&'static [Documents]> {
    static RENDERED: OnceLock<Vec<Documents>> = OnceLock::new();
    let helm = Tool::helm()?;
    let render = |case: &Case| Documents::read(case.name, template(&helm, case.values).unwrap(), case.kinds);
    Some(RENDERED.get_or_init(|| CASES.iter().map(render).collect()))
}

/// What values that are not of the matrix make.
pub(crate) fn render(helm: &Tool, name: &str, values: &str, kinds: &str) -> Documents {
    Documents::read(name, template(helm, values).unwrap(), kinds)
}

/// What these values make, or why nothing.
fn template(helm: &Tool, values: &str) -> Result<String, String> {
    with_values(values, |file| {
        let chart = in_repository(CHART);
        helm.run(&["template", "shop", &chart, "--namespace", "limits", "--kube-version", "1.30", "--values", file])
    })
}

fn with_values<T>(values: &str, use_file: impl FnOnce(&str) -> T) -> T {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    use_file(&file.to_string_lossy())
}

const CHART: &str = "deploy/helm/tidegate";

#[test]
fn helm_finds_nothing_wrong_with_any_values() {
    let Some(helm) = Tool::helm() else { return };
    for case in CASES {
        let linted =
            with_values(case.values, |file| helm.run(&["lint", "--strict", &in_repository(CHART), "--values", file]));
        linted.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    }
}

/// Values with a wrong name or type, or that contradict each other, are an error of the install, which names them.
#[test]
fn wrong_values_are_rejected() {
    let Some(helm) = Tool::helm() else { return };
    for (values, error) in [
        ("{replica: 2}", "replica"),
        ("{image: {tags: x}}", "tags"),
        ("{replicas: two}", "replicas"),
        ("{denialLog: off}", "denialLog"),
        ("{counterMemory: 1GIG}", "counterMemory"),
        ("{rules: {files: {rules.json: x}}}", "rules.json"),
        ("{listenAddress: localhost}", "listenAddress"),
        ("{extraArgs: [serve]}", "extraArgs"),
        ("{access: {clients: [{san: x}]}}", "domains"),
        ("{shutdown: {drainSeconds: 15}}", "shutdown.drainSeconds has to be less"),
        ("{tls: {grpc: {clientCA: true}}}", "tls.grpc.clientCA needs"),
        ("{access: {clients: [{san: x, domains: [shop]}]}}", "access.clients needs"),
        (
            "{json: {enabled: true}, tls: {grpc: {secretName: s, clientCA: true}}, access: {clients: [{san: x, domains: [shop]}]}}",
            "json.enabled has no effect",
        ),
        ("{admin: {service: {enabled: true}}}", "admin.service.enabled needs"),
        ("{autoscaling: {enabled: true, cpuPercent: 0}}", "autoscaling.enabled needs"),
        ("{monitoring: {serviceMonitor: {enabled: true}, podMonitor: {enabled: true}}}", "scrape each pod twice"),
        ("{sharing: {urlSecret: counters}}", "sharing.urlSecret needs networkPolicy.egress"),
        ("{sharing: {tls: {secretName: s}}}", "sharing.tls needs sharing.urlSecret"),
        (
            "{sharing: {urlSecret: a, tls: {clientCertificate: true}}, networkPolicy: {enabled: false}}",
            "sharing.tls.clientCertificate needs",
        ),
        ("{sharing: {whenDown: fail}}", "whenDown"),
        ("{sharing: {url: \"redis://a\"}}", "url"),
        ("{rules: {existingConfigMap: a, files: {b.yaml: c}}}", "takes the place of rules.files"),
    ] {
        let rejected = template(&helm, values).expect_err(values);
        assert!(rejected.contains(error), "{values}: {rejected}");
    }
}

/// What an install with these flags says. It shows that only to those who have a cluster: here a copy of the chart has it as a document, too.
pub(crate) fn notes(helm: &Tool, more: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    let copied =
        Command::new("cp").args(["-r", &in_repository(CHART), &dir.path().to_string_lossy()]).status().unwrap();
    assert!(copied.success());
    let chart = dir.path().join("tidegate");
    let shown = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata:\n  notes: |\n    \
                 {{- include (print $.Template.BasePath \"/NOTES.txt\") . | nindent 4 }}\n";
    fs::write(chart.join("templates/shown.yaml"), shown).unwrap();
    let chart = chart.to_string_lossy();
    let args = ["template", "shop", &chart, "--namespace", "limits", "--kube-version", "1.30"];
    let shown = ["--show-only", "templates/shown.yaml"];
    helm.run(&[&args, shown.as_slice(), more].concat()).unwrap()
}

/// What the install says names what it made, and warns of several pods.
#[test]
fn the_notes_name_what_there_is() {
    let Some(helm) = Tool::helm() else { return };
    let plain = notes(&helm, &[]);
    for text in
        ["shop-tidegate.limits.svc.cluster.local, port_value: 8081", "port-forward deployment/shop-tidegate 8082"]
    {
        assert!(plain.contains(text), "{plain}");
    }
    assert!(!plain.contains("WARNING"), "{plain}");
    assert!(!plain.contains("transport_socket"), "{plain}");
    let several = notes(&helm, &["--set", "replicas=2,persistence.enabled=true"]);
    assert!(several.contains("WARNING: each pod counts on its own"), "{several}");
    assert!(several.contains("port-forward statefulset/shop-tidegate 8082"), "{several}");
    let shared = notes(&helm, &["--set", "replicas=2,sharing.urlSecret=counters,networkPolicy.enabled=false"]);
    assert!(shared.contains("the Secret counters") && !shared.contains("WARNING"), "{shared}");
}

/// With TLS, Envoy's cluster checks the server's name, and shows a certificate where one is asked for.
#[test]
fn the_cluster_of_the_notes_has_the_tls_of_the_values() {
    let Some(helm) = Tool::helm() else { return };
    for (client_ca, certificates) in [("false", 0), ("true", 1)] {
        let notes = notes(&helm, &["--set", &format!("tls.grpc.secretName=grpc-tls,tls.grpc.clientCA={client_ca}")]);
        let tls = &parse(&cluster(&notes))[0][0]["transport_socket"]["typed_config"]["common_tls_context"];
        assert_eq!(list(&tls["tls_certificates"]).len(), certificates, "{notes}");
        let names = &tls["validation_context"]["match_typed_subject_alt_names"];
        assert_eq!(names[0]["matcher"]["exact"], "shop-tidegate.limits.svc.cluster.local", "{notes}");
    }
}

/// The cluster for Envoy that an install prints.
pub(crate) fn cluster(notes: &str) -> String {
    let lines =
        notes.lines().skip_while(|line| !line.contains("- name: tidegate")).take_while(|line| !line.trim().is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}
