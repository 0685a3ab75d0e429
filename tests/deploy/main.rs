//! What is under `deploy/`. For Kubernetes: rendered by the real helm and kustomize, checked against the schemas of Kubernetes and
//! against itself, and run: the command line, the mounted files and the probes with a real server.
//!
//! `HELM_BIN`, `KUSTOMIZE_BIN`, `KUBERNETES_VALIDATE_BIN`, `PROMTOOL_BIN` and `PROMETHEUS_BIN` name the tools, `ENVOY_BIN` an Envoy,
//! `REDIS_7_BIN` and so on an engine (`./test` installs them), `KUBE_APISERVER_BIN` and `ETCD_BIN` an API server (`scripts/kube-apiserver`
//! builds it). Without one, the tests that need it say `SKIPPED` and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test")]
#![allow(clippy::print_stderr, reason = "a failed test shows the logs of what it ran")]

mod api_server;
mod chart;
#[path = "../envoy/client.rs"]
#[allow(dead_code, reason = "the tests with Envoy use all of it")]
mod client;
mod compose;
mod consistency;
mod dns;
mod documents;
#[path = "../engines/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]
mod engines;
mod failures;
mod host;
#[path = "../hosts/mod.rs"]
mod hosts;
mod instead;
mod istio;
mod monitoring;
mod network;
mod overlays;
mod pod;
#[path = "../envoy/proxy.rs"]
#[allow(dead_code, reason = "the tests with Envoy use all of it")]
mod proxy;
mod release;
mod rolling;
mod run;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use all of it")]
mod server;
mod shared_rollout;
mod store;
mod tools;
mod validation;
