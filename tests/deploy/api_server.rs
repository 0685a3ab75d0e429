//! Everything that is rendered is applied to a real API server, which validates it strictly: unknown fields, names, ports, selectors, and the
//! restricted Pod Security Standard. It warns of what is deprecated.
//!
//! `KUBE_APISERVER_BIN` and `ETCD_BIN` name the programs; `scripts/kube-apiserver` builds them, which takes minutes.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::documents::{Documents, list, text_of};
use crate::server::certificates::{ca, issue};
use crate::server::{DEADLINE, ReservedPort, wait_for};
use crate::tools::Tool;
use crate::validation::OPERATOR;
use crate::{chart, overlays};

#[test]
fn a_real_api_server_takes_every_document() {
    let Some(server) = ApiServer::start() else { return };
    let chart = chart::rendered().unwrap_or_default();
    let all: Vec<_> = chart.iter().chain(overlays::rendered().unwrap_or_default()).collect();
    let mut applied = 0;
    for (number, documents) in all.iter().enumerate() {
        applied += server.apply_all(documents, &format!("rendering-{number}"));
    }
    eprintln!("{applied} documents and pods of {} renderings", all.len());
    assert!(all.is_empty() || applied > 4 * all.len(), "{applied} documents of {} renderings", all.len());
}

/// It finds what is wrong, or the test above would show nothing.
#[test]
fn planted_faults_are_rejected() {
    let Some(server) = ApiServer::start() else { return };
    server.namespace("planted");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "datta": {}});
    let error = server.apply(&map, "planted").unwrap_err();
    assert!(error.contains("datta"), "{error}");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let error = server.apply(&pod, "planted").unwrap_err();
    assert!(error.contains("PodSecurity"), "{error}");
}

/// A running API server with an etcd of its own, both killed when it is dropped.
struct ApiServer {
    agent: Agent,
    url: String,
    processes: Vec<Child>,
    dir: TempDir,
}

impl ApiServer {
    fn start() -> Option<Self> {
        let (server, etcd) = (Tool::kube_apiserver()?, Tool::etcd()?);
        let dir = TempDir::new().unwrap();
        let ports = [(); 3].map(|()| ReservedPort::new());
        let [at_etcd, peers, url] = ports.each_ref().map(|port| format!("http://127.0.0.1:{}", port.port));
        let in_dir = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let issuer = ca(dir.path(), "ca");
        issue(dir.path(), "server", &issuer, "127.0.0.1", 2100);
        fs::write(dir.path().join("tokens.csv"), format!("{TOKEN},admin,1,\"system:masters\"\n")).unwrap();
        let etcd = [
            "--socket-reuse-port".to_owned(),
            format!("--data-dir={}", in_dir("etcd")),
            format!("--listen-client-urls={at_etcd}"),
            format!("--advertise-client-urls={at_etcd}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
        ]
        .into_iter()
        .fold(etcd.command(), |mut command, flag| {
            command.arg(flag);
            command
        });
        let api = [
            format!("--etcd-servers={at_etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports[2].port),
            "--permit-port-sharing".to_owned(),
            format!("--tls-cert-file={}", in_dir("server.pem")),
            format!("--tls-private-key-file={}", in_dir("server.key")),
            format!("--token-auth-file={}", in_dir("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", in_dir("server.pem")),
            format!("--service-account-signing-key-file={}", in_dir("server.key")),
            // No controller runs that would make the accounts of namespaces.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            // It rejects an address of the loopback here; nobody is given it.
            "--advertise-address=198.18.0.1".to_owned(),
            "--service-cluster-ip-range=198.19.0.0/24".to_owned(),
        ]
        .into_iter()
        .fold(server.command(), |mut command, flag| {
            command.arg(flag);
            command
        });
        let processes = [("etcd.log", etcd), ("api.log", api)].map(|(log, mut command)| {
            let log = File::create(dir.path().join(log)).unwrap();
            let command = command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            command.spawn().unwrap()
        });
        let root = Certificate::from_pem(&fs::read(dir.path().join("ca.pem")).unwrap()).unwrap();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&[root]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = Agent::config_builder().tls_config(tls.build()).http_status_as_error(false);
        let agent = config.timeout_global(Some(DEADLINE)).build().into();
        let server = Self { agent, url: url.replace("http://", "https://"), processes: processes.into(), dir };
        wait_for("the API server", DEADLINE, || server.is_ready().then_some(()));
        Some(server)
    }

    fn is_ready(&self) -> bool {
        let request = self.agent.get(format!("{}/readyz", self.url)).header("authorization", BEARER);
        request.call().is_ok_and(|answer| answer.status() == 200)
    }

    /// Makes a namespace for pods of the restricted Pod Security Standard, where workloads with other pods are warned about.
    fn namespace(&self, name: &str) {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.apply(&namespace, name).unwrap();
    }

    /// Applies all documents of a rendering, and a pod of each workload, in a namespace of their own: how many.
    fn apply_all(&self, documents: &Documents, namespace: &str) -> usize {
        self.namespace(namespace);
        let known = documents.all.iter().filter(|document| !OPERATOR.contains(&text_of(&document["kind"])));
        let pods = documents.workloads().filter(|workload| workload.document["kind"] != "Pod").map(|workload| {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": workload.pod["metadata"], "spec": workload.pod["spec"]});
            pod["metadata"]["name"] = format!("{}-0", workload.name()).into();
            for claim in list(&workload.document["spec"]["volumeClaimTemplates"]) {
                let name = &claim["metadata"]["name"];
                let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
                pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
            }
            pod
        });
        let all: Vec<_> = known.cloned().chain(pods).collect();
        for document in &all {
            let what = format!("{}: {} {}", documents.name, document["kind"], document["metadata"]["name"]);
            self.apply(document, namespace).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        all.len()
    }

    /// Server-side apply of a document, in this namespace if it has one: what is wrong with it, a warning included.
    fn apply(&self, document: &Value, namespace: &str) -> Result<(), String> {
        let (version, kind) = (text_of(&document["apiVersion"]), text_of(&document["kind"]));
        let group = if version == "v1" { "api/v1".to_owned() } else { format!("apis/{version}") };
        let name = text_of(&document["metadata"]["name"]);
        let mut document = document.clone();
        let path = if kind == "Namespace" {
            format!("{group}/namespaces/{name}")
        } else {
            document["metadata"]["namespace"] = namespace.into();
            let plural =
                kind.to_lowercase().strip_suffix('y').map_or(kind.to_lowercase() + "s", |word| format!("{word}ies"));
            format!("{group}/namespaces/{namespace}/{plural}/{name}")
        };
        let url = format!("{}/{path}?fieldManager=test&fieldValidation=Strict", self.url);
        let request = self.agent.patch(url).header("authorization", BEARER);
        // JSON is YAML.
        let sent = request.content_type("application/apply-patch+yaml").send(document.to_string());
        let mut answer = sent.map_err(|error| error.to_string())?;
        let warnings: Vec<_> = answer.headers().get_all("warning").iter().map(|text| format!("{text:?}")).collect();
        match answer.status().as_u16() {
            200 | 201 if warnings.is_empty() => Ok(()),
            200 | 201 => Err(warnings.join("\n")),
            status => Err(format!("{status}: {}", answer.body_mut().read_to_string().unwrap_or_default())),
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ended = process.kill();
            let _status = process.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("api.log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("--- the end of the API server's log\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

const TOKEN: &str = "only-of-this-test";
const BEARER: &str = "Bearer only-of-this-test";
