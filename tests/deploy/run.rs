//! The rendered pods, run: a real server with their command line, their files where the kubelet would mount them, and their probes.
//!
//! Different from a cluster are the ports, which are free ones of this machine, and where the volumes are.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

use crate::documents::{Documents, Workload, list, text_of};
use crate::pod::{ADDRESSES, PROBES};
use crate::server::certificates::{ca, issue};
use crate::server::{DEADLINE, TestServer, binary, eventually, http, run, wait_for};
use crate::store::Store;
use crate::{chart, overlays};

#[test]
fn the_pods_of_the_chart_run() {
    for documents in chart::rendered().unwrap_or_default() {
        check(documents);
    }
}

#[test]
fn the_pods_of_the_overlays_run() {
    for documents in overlays::rendered().unwrap_or_default() {
        check(documents);
    }
}

/// Starts the server of the rendering, and asks each probe, and the pod of `helm test` if there is one.
fn check(documents: &Documents) {
    let Some(store) = Store::of(documents) else { return };
    let running = Running::start(documents, &store.url);
    let workload = documents.workloads().find(|workload| workload.server().is_some()).unwrap();
    let server = workload.server().unwrap();
    for probe in PROBES {
        let get = &server[probe]["httpGet"];
        assert_eq!(get["port"], "metrics", "{}: {probe}", documents.name);
        let ask = || running.get(text_of(&get["path"]), get["scheme"] == "HTTPS");
        // A pod that needs the store is not ready at once.
        wait_for(&format!("{}: {probe}", documents.name), DEADLINE, || (ask().0 == 200).then_some(()));
    }
    let (status, metrics) = running.get("/metrics", server["readinessProbe"]["httpGet"]["scheme"] == "HTTPS");
    assert!(status == 200 && metrics.contains("tidegate_build_info"), "{}: {metrics}", documents.name);
    let log = running.server.log();
    let ignored: Vec<_> = log.iter().filter(|line| line.contains("ERROR") || line.contains("TIDEGATE_")).collect();
    assert!(ignored.is_empty(), "{}: {ignored:?}", documents.name);
    if let Some(test) = documents.of("Pod").next() {
        running.pass(test, &documents.name);
    }
}

/// A change of the ConfigMap is in force without a restart, as the kubelet makes it.
#[test]
fn a_changed_config_map_is_reloaded() {
    let Some(rendered) = chart::rendered() else { return };
    let running = Running::start(&rendered[0], "memory");
    let generation = |number| running.get("/readyz", false).1.contains(&format!("generation {number}"));
    assert!(generation(1));
    let changed = "domain: api\ndescriptors:\n  - key: user\n    rate_limit: {unit: minute, requests_per_unit: 1}\n";
    project(&running.volumes.path().join("rules"), "2", &[("ratelimit.yaml".to_owned(), changed.to_owned())]);
    eventually("the second configuration", || generation(2));
}

/// A server that runs as a pod would.
pub(crate) struct Running {
    pub(crate) server: TestServer,
    /// The address of the probes.
    metrics: String,
    /// A directory for each volume.
    volumes: TempDir,
    /// The CA of all certificates.
    ca: PathBuf,
}

impl Running {
    /// Starts it, with this URL in the Secret of the store.
    pub(crate) fn start(documents: &Documents, store: &str) -> Self {
        Self::start_at(documents, store, "127.0.0.1:0")
    }

    /// The same, with this address in place of that of the gRPC port, if it is none of a unix socket.
    pub(crate) fn start_at(documents: &Documents, store: &str, grpc: &str) -> Self {
        let volumes = TempDir::new().unwrap();
        let certificates = volumes.path().join("certificates");
        fs::create_dir(&certificates).unwrap();
        let issuer = ca(&certificates, "ca");
        issue(&certificates, "server", &issuer, "127.0.0.1", 2100);
        let workload = documents.workloads().find(|workload| workload.server().is_some()).unwrap();
        mount(documents, workload, volumes.path(), store);
        let server = workload.server().unwrap();
        let mut command = Command::new(binary());
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
            command.env_remove(name);
        }
        command.args(list(&server["args"]).iter().map(|arg| here(text_of(arg), server, volumes.path(), grpc)));
        for variable in list(&server["env"]) {
            command.env(text_of(&variable["name"]), text_of(&variable["value"]));
        }
        command.stdout(Stdio::null());
        let server = TestServer::spawn(TempDir::new().unwrap(), command);
        let listening = server.log().into_iter().find(|line| line.contains("listening grpc=")).unwrap();
        let (_, metrics) = listening.split_once(" metrics=").unwrap();
        let metrics = metrics.split(['"', ' ']).next().unwrap().to_owned();
        Self { server, metrics, volumes, ca: certificates.join("ca.pem") }
    }

    /// The address of the gRPC port.
    pub(crate) fn grpc(&self) -> &str {
        &self.server.grpc
    }

    /// The status and the body of a page of the port of the probes.
    pub(crate) fn get(&self, path: &str, tls: bool) -> (u16, String) {
        if !tls {
            return http(&self.metrics, "GET", path, b"");
        }
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let stream = TcpStream::connect(&self.metrics).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream);
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Runs the container of `helm test`, which ends with 0.
    fn pass(&self, test: &Value, name: &str) {
        let args: Vec<_> =
            list(&test["spec"]["containers"][0]["args"]).iter().map(|arg| self.test_arg(text_of(arg))).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let (status, out, err) = run(&args, "");
        assert_eq!(status, Some(0), "{name}: {args:?}: {out}{err}");
    }

    fn test_arg(&self, arg: &str) -> String {
        match arg.split_once("://") {
            Some((before, _)) => format!("{before}://{}", self.server.grpc.replace("[::]", "[::1]")),
            None => arg.replace("/etc/tidegate/tls/grpc/ca.crt", &self.ca.to_string_lossy()),
        }
    }
}

/// The argument with a free port, or the address of the gRPC port, and with the volumes where they are here.
fn here(arg: &str, server: &Value, volumes: &Path, grpc: &str) -> String {
    let Some((name, value)) = arg.split_once('=') else { return arg.to_owned() };
    if ADDRESSES.iter().any(|(flag, _)| *flag == name) && !value.starts_with("unix:") {
        if name == "--grpc-addr" {
            return format!("{name}={grpc}");
        }
        // An address of every interface would be reachable from outside; that of the admin port decides whether it needs tokens.
        let host = if value.starts_with("0.0.0.0") && name == "--admin-addr" { "0.0.0.0" } else { "127.0.0.1" };
        return format!("{name}={host}:0");
    }
    let mut mounts = list(&server["volumeMounts"]).iter();
    let moved = mounts.find_map(|mount| {
        let (before, below) = value.split_once(text_of(&mount["mountPath"]))?;
        Some(format!("{name}={before}{}{below}", volumes.join(text_of(&mount["name"])).display()))
    });
    moved.unwrap_or_else(|| arg.to_owned())
}

/// Makes a directory for each volume of the pod.
fn mount(documents: &Documents, workload: Workload<'_>, volumes: &Path, store: &str) {
    for volume in list(&workload.pod["spec"]["volumes"]) {
        let files = if volume["configMap"].is_object() {
            config_map(documents, &volume["configMap"]["name"])
        } else if volume["secret"].is_object() {
            secret(&volumes.join("certificates"), store)
        } else {
            Vec::new()
        };
        project(&volumes.join(text_of(&volume["name"])), "1", &files);
    }
    for claim in list(&workload.document["spec"]["volumeClaimTemplates"]) {
        fs::create_dir(volumes.join(text_of(&claim["metadata"]["name"]))).unwrap();
    }
}

fn config_map(documents: &Documents, name: &Value) -> Vec<(String, String)> {
    let Some(map) = documents.find("ConfigMap", name) else {
        // The rules that are kept elsewhere.
        return vec![("rules.yaml".to_owned(), crate::server::THREE_A_MINUTE.to_owned())];
    };
    let data = map["data"].as_object().unwrap().iter();
    data.map(|(key, value)| (key.clone(), text_of(value).to_owned())).collect()
}

/// The files of every Secret that the chart knows.
fn secret(certificates: &Path, store: &str) -> Vec<(String, String)> {
    let (status, token, error) = run(&["token", "new", "--name", "test", "--role", "admin"], "");
    assert_eq!(status, Some(0), "{error}");
    let line = token.lines().nth(1).unwrap();
    let read = |name: &str| fs::read_to_string(certificates.join(name)).unwrap();
    let files = [("tls.crt", read("server.pem")), ("tls.key", read("server.key")), ("ca.crt", read("ca.pem"))];
    let others = [("tokens.yaml", format!("tokens:\n{line}\n")), ("url", format!("{store}\n"))];
    files.into_iter().chain(others).map(|(name, text)| (name.to_owned(), text)).collect()
}

/// Writes the files as the kubelet does: a directory for each version, a link `..data` that is swapped, and links through it.
fn project(dir: &Path, version: &str, files: &[(String, String)]) {
    let versioned = format!("..{version}");
    fs::create_dir_all(dir.join(&versioned)).unwrap();
    for (name, text) in files {
        fs::write(dir.join(&versioned).join(name), text).unwrap();
        if !dir.join(name).is_symlink() {
            symlink(format!("..data/{name}"), dir.join(name)).unwrap();
        }
    }
    symlink(&versioned, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}
