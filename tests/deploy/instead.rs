//! What takes the place of envoyproxy/ratelimit: the manifests of deploy/envoy-gateway and deploy/istio.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::documents::{list, parse, text_of};
use crate::server::{TestServer, binary, eventually};
use crate::tools::{Tool, in_repository};

fn read(path: &str) -> Vec<Value> {
    parse(&fs::read_to_string(in_repository(path)).unwrap())
}

const IMAGE: &str = concat!("registry.example.org/tidegate:", env!("CARGO_PKG_VERSION"));

#[test]
fn the_values_for_envoy_gateway_change_the_image_alone() {
    let values = read("deploy/envoy-gateway/values.yaml").remove(0);
    let gateway = &values["config"]["envoyGateway"];
    let deployment = &gateway["provider"]["kubernetes"]["rateLimitDeployment"];
    assert_eq!((&deployment["container"]["image"], &deployment["replicas"]), (&IMAGE.into(), &1.into()));
    // Envoy Gateway rejects an IP address here.
    assert_eq!(gateway["rateLimit"]["backend"]["redis"]["url"], "unused.invalid:6379");
}

/// The quota service runs with its command line, and is ready without rules.
#[test]
fn the_quota_service_of_ai_gateway_runs() {
    let documents = read("deploy/envoy-gateway/ai-gateway-quota.yaml");
    let pod = &documents[0]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], IMAGE);
    let ports: Vec<_> = list(&container["ports"]).iter().map(|port| text_of(&port["name"])).collect();
    let target = text_of(&documents[1]["spec"]["ports"][0]["targetPort"]);
    assert!(
        ports.contains(&target) && documents[1]["spec"]["selector"] == documents[0]["spec"]["selector"]["matchLabels"]
    );
    let mut command = Command::new(binary());
    command.args(list(&container["args"]).iter().map(text_of));
    command.args(["--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let server = TestServer::spawn(TempDir::new().unwrap(), command);
    for probe in ["readinessProbe", "livenessProbe"] {
        let path = text_of(&container[probe]["httpGet"]["path"]).to_owned();
        eventually(probe, || server.http("GET", &path, b"").0 == 200);
    }
}

/// The parts of Istio's sample that the patch is about.
const SAMPLE: &str = "
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {ports: [{name: redis, port: 6379}], selector: {app: redis}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec: {containers: [{name: redis, image: 'docker.io/redis:alpine'}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratelimit}
spec: {ports: [{name: grpc-port, port: 8081}], selector: {app: ratelimit}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ratelimit}
spec:
  selector: {matchLabels: {app: ratelimit}}
  template:
    metadata: {labels: {app: ratelimit}}
    spec:
      containers:
      - {name: ratelimit, image: 'docker.io/envoyproxy/ratelimit:30a4ce1a', command: [/bin/ratelimit], env: [{name: HOST, value: '::'}]}
";

#[test]
fn istio_s_sample_is_patched() {
    let Some(kustomize) = Tool::kustomize() else { return };
    let dir = TempDir::new().unwrap();
    for file in ["kustomization.yaml", "ratelimit.yaml"] {
        fs::copy(in_repository(&format!("deploy/istio/{file}")), dir.path().join(file)).unwrap();
    }
    fs::write(dir.path().join("rate-limit-service.yaml"), SAMPLE).unwrap();
    let built = kustomize.run(&["build", dir.path().to_str().unwrap()]).unwrap();
    let documents = parse(&built);
    let shown: Vec<_> =
        documents.iter().map(|document| (text_of(&document["kind"]), text_of(&document["metadata"]["name"]))).collect();
    assert_eq!(shown, [("Service", "ratelimit"), ("Deployment", "ratelimit")]);
    let container = &documents[1]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["command"][0]), (&IMAGE.into(), &"/bin/ratelimit".into()));
    assert_eq!(container["env"][0]["name"], "HOST");
}
