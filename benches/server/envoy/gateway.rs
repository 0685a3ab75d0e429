//! The bootstrap configuration of the measured Envoy: for each Tidegate a listener whose requests are checked, and one without.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::bootstrap::{cluster, entry, grpc_cluster, listener, rate_limit_filter, socket};

/// The listener without the rate limit filter.
pub(super) const WITHOUT: &str = "gateway";

/// The request header of an entry.
pub(super) fn header(entry: usize) -> String {
    format!("x-k{entry}")
}

/// A listener named after each of the Tidegates; `entries` headers of a request are the entries of its only descriptor. The service behind
/// all listeners is another one of the same Envoy, at a unix socket in `dir`.
pub(super) fn bootstrap(tidegates: &[(String, SocketAddr)], entries: usize, dir: &Path) -> String {
    let free_port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
    let service = json!({"pipe": {"path": dir.join("service.sock")}});
    let answer = json!({"direct_response": {"status": 200, "body": {"inline_string": "served"}}});
    let actions: Vec<_> = (0..entries).map(|at| entry(&header(at), &format!("k{at}"), false)).collect();
    let limited = json!({"route": {"cluster": "service", "rate_limits": [{"actions": actions}]}});
    let unlimited = json!({"route": {"cluster": "service"}});
    let mut listeners =
        vec![listener("service", &service, &[], &answer), listener(WITHOUT, &free_port, &[], &unlimited)];
    let mut clusters = vec![cluster("service", &[service])];
    for (name, address) in tidegates {
        listeners.push(listener(name, &free_port, &[filter(name)], &limited));
        clusters.push(grpc_cluster(name, &[socket(*address)]));
    }
    let admin = json!({"address": free_port});
    json!({"admin": admin, "static_resources": {"listeners": listeners, "clusters": clusters}}).to_string()
}

/// A request that was not checked is answered with 500.
fn filter(tidegate: &str) -> Value {
    let mut filter = rate_limit_filter("bench", tidegate, "20s");
    filter["typed_config"]["failure_mode_deny"] = true.into();
    filter
}
