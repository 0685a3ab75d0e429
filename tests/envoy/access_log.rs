//! The access log of the gateway in `deploy/envoy/`: each 429 with who was denied, and a trace of all requests.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::bootstrap::Gateway;
use crate::client::Header;
use crate::deployed::{GATEWAY_RULES, bearer, gateway_here, healthy};
use crate::lab::Lab;
use crate::server::{DEADLINE, ReservedPort, next_minute_if_late, run, wait_for};

/// The example, and its access log once more, of all requests, in a file.
fn with_whole_log(example: &str, file: &Path) -> String {
    let (before, rest) = example.split_once("                  - name: envoy.access_loggers.stderr\n").unwrap();
    let (format, after) = rest.split_once("                http_filters:\n").unwrap();
    let filter = "                    filter: {response_flag_filter: {flags: [RL]}}\n";
    assert!(format.contains(filter), "the example logs other requests than those that were denied");
    let whole = format.replace(filter, "").replace(
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog\n",
        &format!(
            "envoy.extensions.access_loggers.file.v3.FileAccessLog\n                      path: {}\n",
            file.display()
        ),
    );
    format!(
        "{before}                  - name: envoy.access_loggers.file\n{whole}                  \
         - name: envoy.access_loggers.stderr\n{format}                http_filters:\n{after}"
    )
}

/// The lines of JSON of a log, once it has so many.
fn lines(what: &str, count: usize, read: impl Fn() -> String) -> Vec<Value> {
    wait_for(what, DEADLINE, || {
        let text = read();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str).collect();
        (lines.len() >= count).then(|| lines.into_iter().map(Result::unwrap).collect())
    })
}

/// What is simulated of the log is what the gateway answered, request by request.
#[test]
fn denied_requests_are_logged_and_the_log_of_all_becomes_a_trace() {
    let service = ReservedPort::new();
    let logs = tempfile::TempDir::new().unwrap();
    let file = logs.path().join("access.log");
    let bootstrap = |rls: &[SocketAddr], _: &Path| with_whole_log(&gateway_here(rls, &service), &file);
    let Some(lab) = Lab::open_with(GATEWAY_RULES, Gateway::default(), &[], bootstrap) else { return };
    healthy(&lab, 1);
    next_minute_if_late();
    let (mut client, bearer) = (lab.client(), bearer());
    let acme: &[Header] = &[("x-partner", b"acme")];
    let tenant: &[Header] = &[("x-partner", b"glo\"bex\xff"), ("authorization", bearer.as_bytes())];
    let mut statuses = Vec::new();
    for headers in [acme, acme, acme, tenant, &[], acme, acme, acme, tenant, acme] {
        statuses.push(client.get("/orders", headers).status);
    }
    let denied = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(denied, 2, "{statuses:?}");

    let read = || fs::read_to_string(&file).unwrap_or_default();
    let all = lines("all requests in the log", statuses.len(), read);
    let logged: Vec<_> = all.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(logged, statuses.iter().map(|status| u64::from(*status)).collect::<Vec<_>>());
    let of_denied = lines("denied requests in the log", denied, || lab.envoy.output());
    assert_eq!(of_denied, all.iter().filter(|line| line["status"] == 429).cloned().collect::<Vec<_>>());
    for line in of_denied {
        let shown = json!([line["partner"], line["path"], line["tenant"], line["address"]]);
        assert_eq!(shown, json!(["acme", "/orders", null, "127.0.0.1"]), "{line}");
    }

    let descriptors = ["remote_address=%address%", "tenant=%tenant%", "partner=%partner%"];
    let mut args = vec!["trace", "from-envoy-log", "--domain", "gateway"];
    args.extend(descriptors.iter().flat_map(|descriptor| ["--descriptor", descriptor]));
    let (status, trace, said) = run(&args, &read());
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "10 checks; skipped: 0 lines without a descriptor, 0 lines that are no JSON\n")
    );
    let rules = logs.path().join("rules.yaml");
    fs::write(&rules, GATEWAY_RULES).unwrap();
    let (status, decisions, error) = run(&["simulate", &rules.to_string_lossy()], &trace);
    assert_eq!(status, Some(0), "{error}");
    let decisions: Vec<Value> = decisions.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let simulated: Vec<_> = decisions.iter().map(|decision| if decision["code"] == "OK" { 200 } else { 429 }).collect();
    assert_eq!(simulated, statuses, "{trace}");
    let rules_of_tenant: Vec<_> =
        decisions[3]["statuses"].as_array().unwrap().iter().map(|status| &status["rule"]).collect();
    assert_eq!(rules_of_tenant.len(), 3, "address, tenant and partner: {rules_of_tenant:?}");
}

/// What is wrong with a log, or with how it is read, is said, and the exit status shows it.
#[test]
fn a_log_that_gives_no_trace_is_an_error() {
    let from = |descriptor: &str, log: &str| {
        let args = ["trace", "from-envoy-log", "--domain", "gateway", "--descriptor", descriptor, "--time", "began"];
        run(&args, log)
    };
    let (line, other) = ("{\"began\":1.5,\"user\":\"ann\"}\n", "[info] all clusters are there\n");
    let (status, trace, said) = from("user=%user%", &format!("{other}{line}"));
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(trace, "{\"at\":1.5,\"domain\":\"gateway\",\"descriptors\":[{\"entries\":[[\"user\",\"ann\"]]}]}\n");
    assert!(said.contains("1 checks; skipped: 0 lines without a descriptor, 1 lines that are no JSON"), "{said}");
    for (descriptor, log, exit, error) in [
        ("tenant=%tenant%", line, 1, "standard input: no line has the fields of a descriptor"),
        ("user=%user%", "{\"time\":1}", 1, "standard input: line 1: has no field \"began\""),
        ("user", line, 2, "'user' has no '='"),
    ] {
        let (status, trace, said) = from(descriptor, log);
        assert_eq!((status, trace.as_str()), (Some(exit), ""), "{said}");
        assert!(said.contains(error), "{said}");
    }
}
