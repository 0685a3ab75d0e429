//! Starting: what is wrong is reported in one line, and the exit status is not 0.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::TestServer;
use crate::server::{THREE_A_MINUTE, command, eventually, rules_in, run};

/// Runs to the end, which must come by itself; the exit status and standard error.
fn fail(config: &str, flags: &[&str]) -> (Option<i32>, String) {
    let output = command(config, flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_taken_port_is_reported_with_its_flag() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, THREE_A_MINUTE);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TestServer::start(THREE_A_MINUTE, &["--workers", "2"]);
    for address in [taken.local_addr().unwrap().to_string(), other.grpc.clone()] {
        for flag in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            let (code, stderr) = fail(&config, &[flag, &address, "--workers", "2"]);
            assert_eq!(code, Some(1), "{flag}: {stderr}");
            let start = format!("error: cannot listen on {address} ({flag}): ");
            assert!(stderr.starts_with(&start) && stderr.lines().count() == 1, "{flag}: {stderr}");
        }
    }
}

#[test]
fn a_missing_configuration_is_reported_in_one_line() {
    let (code, _, stderr) = run(&["serve", "/nonexistent/rules.yaml"], "");
    assert!(code == Some(1) && stderr.starts_with("error: /nonexistent/rules.yaml: "), "{stderr}");
    let (code, _, stderr) = run(&["serve"], "");
    assert!(code == Some(2) && stderr.contains("<PATH>"), "{stderr}");
    let (code, stderr) = fail("/nonexistent/rules.yaml", &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.starts_with("error: /nonexistent/rules.yaml: ") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_bad_configuration_lists_every_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, "domain: api\ndescriptors:\n  - key: ''\n  - key: a\n    rate_limit: {unit: eon}\n");
    let (code, stderr) = fail(&config, &[]);
    assert_eq!(code, Some(1), "{stderr}");
    for error in [":3: descriptor has empty key", ":5: invalid rate limit unit 'eon'"] {
        assert!(stderr.contains(error), "no {error} in {stderr}");
    }
}

/// Otherwise each time that the table grows stops a worker for milliseconds.
#[test]
fn the_table_of_open_files_has_its_length_from_the_start() {
    let server = TestServer::start(THREE_A_MINUTE, &["--max-connections", "3000"]);
    let length: u32 = server.process_status("FDSize:").parse().unwrap();
    assert!(length >= 3_000, "{length}");
}

/// As `--help` says of `--workers`: there is one for each core that the process may use, not for each of the machine.
#[test]
fn there_is_a_worker_for_each_core_of_the_affinity() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap();
    let first = allowed.split(['-', ',']).next().unwrap();
    if std::process::Command::new("taskset").args(["-c", first, "true"]).status().is_err() {
        let why = b"SKIPPED: start::there_is_a_worker_for_each_core_of_the_affinity: there is no taskset\n";
        return std::io::stderr().write_all(why).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let inner = command(&rules_in(&dir, THREE_A_MINUTE), &[]);
    let mut bound = std::process::Command::new("taskset");
    bound.args(["-c", first]).arg(inner.get_program()).args(inner.get_args());
    let server = TestServer::spawn(dir, bound);
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    let is_worker =
        |name: &String| name.trim().strip_prefix("tidegate-").is_some_and(|number| number.parse::<u16>().is_ok());
    assert_eq!(names.filter(is_worker).count(), 1);
}

#[test]
fn bad_flags_are_reported() {
    let cases: [(&[&str], &str); 4] = [
        (&["--drain", "soon"], "--drain"),
        (&["--log-level", "=="], "--log-level"),
        (&["--grpc-addr", "8081"], "HOST:PORT"),
        (&["--counter-memory", "1GIG"], "use KiB, MiB or GiB"),
    ];
    for (flags, word) in cases {
        let (code, stderr) = fail("/nonexistent", flags);
        assert!(code != Some(0) && stderr.contains(word), "{flags:?}: {code:?} {stderr}");
    }
}

#[test]
fn what_ends_the_start_is_json_when_the_log_is() {
    let dir = tempfile::tempdir().unwrap();
    let good = rules_in(&dir, THREE_A_MINUTE);
    let bad = dir.path().join("bad.yaml");
    std::fs::write(&bad, "domain: api\ndescriptors:\n  - key: ''\n  - key: a\n    rate_limit: {unit: eon}\n").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases: [(&str, &[&str], i32, &[&str]); 6] = [
        (&good, &["--http-addr", &address], 1, &["cannot listen on 127.0.0.1:"]),
        (&good, &["--http-addr", &address, "--log-level", "off"], 1, &["cannot listen on 127.0.0.1:"]),
        ("/nonexistent", &[], 1, &["/nonexistent: no such file or directory"]),
        (
            &bad.to_string_lossy(),
            &[],
            1,
            &["bad.yaml:3: descriptor has empty key", "bad.yaml:5: invalid rate limit unit"],
        ),
        (&good, &["--log-level", "=="], 1, &["--log-level ==: "]),
        (&good, &["--drain", "soon"], 2, &["invalid value 'soon' for '--drain <DURATION>': "]),
    ];
    for (config, flags, status, expected) in cases {
        for (flags, variable) in [([flags, &["--log-format", "json"]].concat(), None), (flags.to_vec(), Some("json"))] {
            let mut command = command(config, &flags);
            command.envs(variable.map(|value| ("TIDEGATE_LOG_FORMAT", value)));
            let output = command.output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                (output.status.code(), stderr.lines().count()),
                (Some(status), expected.len()),
                "{flags:?}: {stderr}"
            );
            for (line, expected) in stderr.lines().zip(expected) {
                let line: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|_| panic!("{flags:?}: {stderr}"));
                assert_eq!((&line["level"], &line["target"]), (&"ERROR".into(), &"tidegate".into()), "{line}");
                assert!(line["message"].as_str().unwrap().contains(expected), "{flags:?}: {line}");
                assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
            }
        }
    }
}

#[test]
fn a_variable_that_nothing_reads_is_warned_about() {
    let variables = [
        ("TIDEGATE_DRAINN", "secret"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:8081"),
        ("TIDEGATE_PORT_8081_TCP_ADDR", "10.0.0.1"),
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SUMMARY", "no"),
    ];
    let server = TestServer::start_with_variables(THREE_A_MINUTE, &[], &variables);
    let log = server.log();
    let warnings: Vec<_> = log.iter().filter_map(|line| line.split_once(" WARN ")).collect();
    let expected = "the variable TIDEGATE_DRAINN is not a setting and is ignored; did you mean TIDEGATE_DRAIN?";
    assert_eq!(warnings.iter().map(|(_, what)| what.trim()).collect::<Vec<_>>(), [expected]);
    assert!(!log.join("\n").contains("secret"), "{log:?}");
}

#[test]
fn a_config_map_that_is_swapped_warns_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().to_owned();
    let version = |name: &str, limit: u32| {
        std::fs::create_dir_all(rules.join(name)).unwrap();
        let text = THREE_A_MINUTE.replace("unit: 3", &format!("unit: {limit}"));
        std::fs::write(rules.join(name).join("rules.yaml"), text).unwrap();
    };
    let swap = |name: &str| {
        let link = rules.join("..data_tmp");
        std::os::unix::fs::symlink(name, &link).unwrap();
        std::fs::rename(link, rules.join("..data")).unwrap();
    };
    version("..1", 1);
    swap("..1");
    std::os::unix::fs::symlink("..data/rules.yaml", rules.join("rules.yaml")).unwrap();
    let server = TestServer::spawn(dir, command(&rules.to_string_lossy(), &[]));
    for round in 2..6 {
        version(&format!("..{round}"), round);
        swap(&format!("..{round}"));
        std::fs::remove_dir_all(rules.join(format!("..{}", round - 1))).unwrap();
        server.log_until(&format!("generation={round}"));
    }
    let log = server.log();
    assert!(!log.iter().any(|line| line.contains(" WARN ") || line.contains("inotify")), "{log:#?}");
}

#[test]
fn switches_take_the_words_that_people_write_into_an_environment() {
    let dir = tempfile::tempdir().unwrap();
    let config = rules_in(&dir, THREE_A_MINUTE);
    for (word, quiet) in
        [("true", true), ("1", true), ("yes", true), ("on", true), ("false", false), ("0", false), ("no", false)]
    {
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let reported = check.args(["check", &config]).env("TIDEGATE_QUIET", word).output().unwrap();
        assert_eq!((reported.status.code(), reported.stdout.is_empty()), (Some(0), quiet), "{word}: {reported:?}");
    }
}

#[test]
fn the_addresses_are_in_the_json_log_too() {
    let server = TestServer::start(THREE_A_MINUTE, &["--log-format", "json"]);
    let line: serde_json::Value =
        serde_json::from_str(server.log().iter().find(|line| line.contains("listening")).unwrap()).unwrap();
    let want = format!("listening grpc={} http={} admin={}", server.grpc, server.http, server.admin);
    assert_eq!(line["message"], want.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_replaces_a_stale_one_and_goes_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grpc.sock");
    drop(UnixListener::bind(&path).unwrap());
    let address = format!("unix:{}", path.display());
    let mut server = TestServer::start(THREE_A_MINUTE, &["--grpc-addr", &address, "--drain", "0s"]);
    assert_eq!(server.grpc, address);
    let mut health = HealthClient::new(server.channel().await);
    health.check(HealthCheckRequest::default()).await.unwrap();
    let config = server.dir.path().join("rules.yaml");
    let (code, stderr) = fail(&config.to_string_lossy(), &["--grpc-addr", &address]);
    assert_eq!(code, Some(1), "a socket that is served is not taken over: {stderr}");
    health.check(HealthCheckRequest::default()).await.unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn sighup_reads_the_configuration_again_and_a_lost_file_keeps_the_old_one() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let config = server.dir.path().join("rules.yaml");
    std::fs::remove_file(&config).unwrap();
    server.signal("HUP");
    let mut detail = String::new();
    eventually("a failed reload", || {
        detail = server.http("GET", "/readyz", b"").1;
        detail.contains("last reload failed")
    });
    assert!(detail.starts_with("serving: serving\nconfiguration: generation 1\n"), "{detail}");
    std::fs::write(&config, THREE_A_MINUTE).unwrap();
    server.signal("HUP");
    eventually("a good reload", || !server.http("GET", "/readyz", b"").1.contains("failed"));
    assert_eq!(server.http("GET", "/healthcheck", b"").0, 200);
}

/// Whether a process may have huge pages, as the kernel says it.
#[test]
fn huge_pages_are_used_only_if_that_is_asked_for() {
    for (flags, enabled) in [(&["--workers", "1"][..], "0"), (&["--workers", "1", "--huge-pages"], "1")] {
        let server = TestServer::start(THREE_A_MINUTE, flags);
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let Some(shown) = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")) else {
            return eprintln!("SKIPPED: this kernel does not show whether a process has huge pages");
        };
        assert_eq!(shown.trim(), enabled, "{flags:?}");
    }
}
