//! One pod: its security, volumes, probes, and the command line of `tidegate serve` in it.

use std::collections::BTreeSet;

use clap::CommandFactory;
use serde_json::Value;
use tidegate::cli::Cli;

use crate::documents::{Documents, Workload, list, text_of};

/// What is wrong with a pod.
pub(crate) fn find(documents: &Documents, workload: Workload<'_>, wrong: &mut Vec<String>) {
    let begin = wrong.len();
    security(workload, wrong);
    volumes(documents, workload, wrong);
    service_account(documents, workload, wrong);
    for container in workload.containers() {
        probes(container, wrong);
        if text_of(&container["image"]).contains("tidegate") {
            command_line(container, wrong);
        }
    }
    if let Some(server) = workload.server() {
        addresses(server, wrong);
        files(documents, workload, server, wrong);
        stopping(workload, server, wrong);
        memory(server, wrong);
    }
    for finding in &mut wrong[begin..] {
        finding.insert_str(0, &format!("{}: ", workload.name()));
    }
}

/// The restricted Pod Security Standard, and no token of the API server.
fn security(workload: Workload<'_>, wrong: &mut Vec<String>) {
    let spec = &workload.pod["spec"];
    let pod = &spec["securityContext"];
    if pod["runAsNonRoot"] != true || pod["runAsUser"] != 65532 || pod["seccompProfile"]["type"] != "RuntimeDefault" {
        wrong.push(format!("securityContext of the pod: {pod}"));
    }
    if spec["automountServiceAccountToken"] != false || spec["enableServiceLinks"] != false {
        wrong.push("a token is mounted, or service links are made".to_owned());
    }
    for container in workload.containers() {
        let (name, own) = (&container["name"], &container["securityContext"]);
        if own["allowPrivilegeEscalation"] != false || own["readOnlyRootFilesystem"] != true {
            wrong.push(format!("securityContext of {name}: {own}"));
        }
        if own["capabilities"] != serde_json::json!({"drop": ["ALL"]}) {
            wrong.push(format!("capabilities of {name}: {own}"));
        }
        let resources = &container["resources"];
        if resources["requests"]["cpu"].is_null() || resources["limits"]["memory"].is_null() {
            wrong.push(format!("resources of {name}: {resources}"));
        }
    }
}

/// Each mount has its volume, each volume a mount and its content.
fn volumes(documents: &Documents, workload: Workload<'_>, wrong: &mut Vec<String>) {
    let volumes = list(&workload.pod["spec"]["volumes"]);
    let claims =
        list(&workload.document["spec"]["volumeClaimTemplates"]).iter().map(|claim| &claim["metadata"]["name"]);
    let known: BTreeSet<_> = volumes.iter().map(|volume| &volume["name"]).chain(claims).map(text_of).collect();
    let mounts: Vec<_> = workload.containers().flat_map(|container| list(&container["volumeMounts"])).collect();
    let mounted: BTreeSet<_> = mounts.iter().map(|mount| text_of(&mount["name"])).collect();
    wrong.extend(
        mounted.symmetric_difference(&known).map(|name| format!("{name} is a volume or a mount, and not both")),
    );
    for mount in mounts.iter().filter(|mount| !mount["subPath"].is_null()) {
        wrong.push(format!("{mount}: a subPath is never updated"));
    }
    for volume in volumes {
        let name = &volume["configMap"]["name"];
        // The one that the matrix says is kept elsewhere.
        if !name.is_null() && name != "my-rules" && documents.find("ConfigMap", name).is_none() {
            wrong.push(format!("there is no ConfigMap {name}"));
        }
    }
}

fn service_account(documents: &Documents, workload: Workload<'_>, wrong: &mut Vec<String>) {
    let name = &workload.pod["spec"]["serviceAccountName"];
    if !name.is_null() && name != "default" && documents.find("ServiceAccount", name).is_none() {
        wrong.push(format!("there is no ServiceAccount {name}"));
    }
}

/// Each probe asks a port of its container by name.
fn probes(container: &Value, wrong: &mut Vec<String>) {
    let ports: BTreeSet<_> = list(&container["ports"]).iter().map(|port| text_of(&port["name"])).collect();
    for name in PROBES {
        let probe = &container[name];
        let asked = ["httpGet", "tcpSocket"].iter().map(|how| &probe[how]["port"]).find(|port| !port.is_null());
        if asked.is_some_and(|port| !ports.contains(text_of(port))) || (asked.is_none() && !probe.is_null()) {
            wrong.push(format!("{name} asks no port of the container: {probe}"));
        }
    }
    if container["args"][0] == "serve" && PROBES.iter().any(|name| container[name].is_null()) {
        wrong.push("a probe is missing".to_owned());
    }
}

pub(crate) const PROBES: [&str; 3] = ["startupProbe", "readinessProbe", "livenessProbe"];

/// The program takes the arguments: flags that it has, with values that it can read.
fn command_line(container: &Value, wrong: &mut Vec<String>) {
    let args = list(&container["args"]).iter().map(text_of);
    if let Err(error) = Cli::command().try_get_matches_from(["tidegate"].into_iter().chain(args)) {
        wrong.push(format!("{error}"));
    }
}

/// The value of a flag that is written `--flag=value`.
pub(crate) fn flag<'c>(container: &'c Value, name: &str) -> Option<&'c str> {
    list(&container["args"]).iter().find_map(|arg| text_of(arg).strip_prefix(name)?.strip_prefix('='))
}

/// The port of the flag, and the name that it has in the pod.
pub(crate) const ADDRESSES: [(&str, &str); 4] =
    [("--grpc-addr", "grpc"), ("--http-addr", "http"), ("--metrics-addr", "metrics"), ("--admin-addr", "admin")];

/// What others reach is a port of the container by number and name, and nothing else is.
fn addresses(server: &Value, wrong: &mut Vec<String>) {
    let declared: BTreeSet<_> =
        list(&server["ports"]).iter().map(|port| (text_of(&port["name"]), port["containerPort"].to_string())).collect();
    let mut open = BTreeSet::new();
    for (name, port) in ADDRESSES {
        let Some(address) = flag(server, name) else {
            wrong.push(format!("{name} is not set"));
            continue;
        };
        let (host, number) = address.rsplit_once(':').unwrap_or_default();
        if host != "127.0.0.1" && !address.starts_with("unix:") {
            open.insert((port, number.to_owned()));
        }
    }
    let differ = declared.symmetric_difference(&open);
    wrong.extend(differ.map(|(name, number)| format!("{name} {number} is open or declared, and not both")));
}

/// The files that Secrets must have, which no document shows.
const IN_SECRETS: [&str; 5] = ["tls.crt", "tls.key", "ca.crt", "tokens.yaml", "url"];

/// Each path of the command line is in a volume; a file of a ConfigMap is a key of it.
fn files(documents: &Documents, workload: Workload<'_>, server: &Value, wrong: &mut Vec<String>) {
    let mounts = list(&server["volumeMounts"]);
    for arg in list(&server["args"]).iter().map(text_of) {
        let Some((_, path)) = arg.split_once('=') else { continue };
        let path = path.strip_prefix("unix:").or_else(|| path.strip_prefix('@')).unwrap_or(path);
        if !path.starts_with('/') {
            continue;
        }
        let inside = |mount: &&Value| {
            let below = path.strip_prefix(text_of(&mount["mountPath"]));
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        let Some(mount) = mounts.iter().find(inside) else {
            wrong.push(format!("{arg} is in no volume"));
            continue;
        };
        let key = path[text_of(&mount["mountPath"]).len()..].trim_start_matches('/');
        let volume = list(&workload.pod["spec"]["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
        let Some(volume) = volume.filter(|_| !key.is_empty()) else { continue };
        let map = documents.find("ConfigMap", &volume["configMap"]["name"]);
        let is_there = map.is_some_and(|map| !map["data"][key].is_null())
            || (volume["secret"].is_object() && IN_SECRETS.contains(&key))
            || (volume["emptyDir"].is_object() && arg.starts_with("--grpc-addr=unix:"));
        if !is_there {
            wrong.push(format!("the volume of {arg} has no {key}"));
        }
    }
}

/// The kubelet waits for the hook and the whole shutdown; a drain is shorter than its deadline.
fn stopping(workload: Workload<'_>, server: &Value, wrong: &mut Vec<String>) {
    let seconds = |name, default| {
        flag(server, name)
            .map_or(default, |text| text.strip_suffix('s').and_then(|text| text.parse::<i64>().ok()).unwrap())
    };
    if flag(server, "--drain").is_some_and(|text| text == "soon") {
        return;
    }
    let (drain, deadline) = (seconds("--drain", 5), seconds("--shutdown-deadline", 15));
    let hook = server["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap_or(0);
    let grace = workload.pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    if grace <= hook + deadline || deadline <= drain {
        wrong.push(format!("killed after {grace} s, within {hook} + {deadline} s, drain {drain} s"));
    }
}

/// The counters, half of the limit unless the flag is set, have room below it: by the formula of docs/KUBERNETES.md, without connections.
fn memory(server: &Value, wrong: &mut Vec<String>) {
    let limit = mebibytes(text_of(&server["resources"]["limits"]["memory"]).trim_end_matches('i'));
    let counters = flag(server, "--counter-memory").map_or(limit / 2, |text| mebibytes(text.trim_end_matches("iB")));
    if counters + 64 > limit {
        wrong.push(format!("--counter-memory and 64 MiB, {counters} + 64, are more than the {limit} MiB of the limit"));
    }
}

/// A number of `M` or `G`.
fn mebibytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{text} is no number of mebibytes"));
    match unit {
        "M" => number,
        "G" => number * 1024,
        _ => panic!("{text} is no number of mebibytes"),
    }
}
