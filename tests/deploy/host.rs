//! What is for a host without Kubernetes: the systemd units, Compose, and the root file system of the image.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use tempfile::TempDir;
use tidegate::cli::Cli;

use crate::documents::{list, parse, text_of};
use crate::server::{THREE_A_MINUTE, TestServer, binary};
use crate::tools::{Tool, in_repository, skip};

fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap()
}

/// The program takes these arguments.
#[track_caller]
fn accepted<'a>(args: impl IntoIterator<Item = &'a str>) {
    let parsed = Cli::command().try_get_matches_from(["tidegate"].into_iter().chain(args));
    parsed.unwrap_or_else(|error| panic!("{error}"));
}

const UNITS: [&str; 4] = ["tidegate.service", "tidegate-grpc.socket", "tidegate-http.socket", "tidegate-admin.socket"];

#[test]
fn the_unit_starts_what_there_is() {
    let unit = read("deploy/systemd/tidegate.service");
    let setting = |name: &str| {
        let found: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    };
    let command: Vec<_> = setting("ExecStart").split(' ').collect();
    assert_eq!(command[0], "/usr/local/bin/tidegate");
    accepted(command[1..].iter().copied());
    let directory = format!("/var/lib/{}", setting("StateDirectory"));
    assert!(command.contains(&directory.as_str()), "{command:?}");
    let sockets: BTreeSet<_> = setting("Requires").split(' ').collect();
    assert_eq!(sockets, UNITS[1..].iter().copied().collect());
}

/// systemd itself takes the units; it looks for the program, which is elsewhere here.
#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("there is no systemd-analyze");
    }
    let dir = TempDir::new().unwrap();
    let paths: Vec<_> = UNITS.iter().map(|unit| dir.path().join(unit)).collect();
    for (unit, path) in UNITS.iter().zip(&paths) {
        let text = read(&format!("deploy/systemd/{unit}"));
        fs::write(path, text.replace("/usr/local/bin/tidegate", &binary().to_string_lossy())).unwrap();
    }
    let verify = || Command::new("systemd-analyze").arg("verify").args(&paths).output().unwrap();
    let output = verify();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(&paths[0], fs::read_to_string(&paths[0]).unwrap() + "ProtectSytem=strict\n").unwrap();
    assert!(!verify().stderr.is_empty(), "it takes anything");
}

#[test]
fn compose_names_files_commands_and_volumes_that_there_are() {
    let compose = parse(&read("deploy/compose/compose.yaml")).remove(0);
    let volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in compose["services"].as_object().unwrap() {
        for volume in list(&service["volumes"]).iter().map(text_of) {
            let source = volume.split(':').next().unwrap();
            let path = in_repository(&format!("deploy/compose/{source}"));
            assert!(volumes.contains_key(source) || Path::new(&path).exists(), "{name}: {volume}");
        }
        for on in service["depends_on"].as_object().into_iter().flatten() {
            assert!(compose["services"][on.0]["healthcheck"].is_object(), "{name} waits for {on:?}");
        }
        for port in list(&service["ports"]).iter().map(text_of) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to other machines: {port}");
        }
    }
    let tidegate = &compose["services"]["tidegate"];
    accepted(list(&tidegate["command"]).iter().map(text_of));
    let test: Vec<_> = list(&tidegate["healthcheck"]["test"]).iter().map(text_of).collect();
    assert_eq!(test[..2], ["CMD", "/usr/bin/tidegate"]);
    accepted(test[2..].iter().copied());
    let image = &tidegate["build"];
    assert!(
        Path::new(&in_repository("deploy/compose"))
            .join(text_of(&image["context"]))
            .join(text_of(&image["dockerfile"]))
            .exists()
    );
    // Prometheus scrapes the port of --metrics-addr, and Envoy asks at the socket.
    let prometheus = parse(&read("deploy/compose/prometheus.yaml")).remove(0);
    let scraped = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"];
    assert_eq!(scraped, &serde_json::json!(["tidegate:9090"]));
    let flags: Vec<_> = list(&tidegate["command"]).iter().map(text_of).collect();
    assert!(flags.contains(&"--metrics-addr=0.0.0.0:9090"), "{flags:?}");
    let socket = flags.iter().find_map(|flag| flag.strip_prefix("--grpc-addr=unix:")).unwrap();
    assert!(read("deploy/envoy/sidecar.yaml").contains(&format!("pipe: {{path: {socket}}}")), "{socket}");
}

#[test]
fn promtool_takes_the_configuration_of_compose() {
    let Some(promtool) = Tool::promtool() else { return };
    let dir = TempDir::new().unwrap();
    for (from, to) in
        [("deploy/compose/prometheus.yaml", "prometheus.yaml"), ("deploy/prometheus/alerts.yaml", "alerts.yaml")]
    {
        fs::write(dir.path().join(to), read(from)).unwrap();
    }
    promtool.run(&["check", "config", &dir.path().join("prometheus.yaml").to_string_lossy()]).unwrap();
}

/// The Dockerfile's instructions, continued lines joined.
fn instructions() -> Vec<String> {
    let text = read("deploy/image/Dockerfile").replace("\\\n", " ");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn the_dockerfile_copies_what_there_is_and_starts_it() {
    let all = instructions();
    let of = |name: &str| all.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect::<Vec<_>>();
    for copied in of("COPY").iter().filter(|copied| !copied.starts_with("--from")) {
        let mut paths: Vec<_> = copied.split_whitespace().collect();
        paths.pop();
        let ignored = read("deploy/image/Dockerfile.dockerignore");
        for path in paths {
            assert!(Path::new(&in_repository(path)).exists(), "{path}");
            assert!(ignored.lines().any(|line| line == format!("!{path}")), "{path} is ignored");
        }
    }
    let array = |name: &str| -> Vec<String> { serde_json::from_str(of(name)[0]).unwrap() };
    assert_eq!((of("USER"), array("ENTRYPOINT")), (vec!["65532:65532"], vec!["/usr/bin/tidegate".to_owned()]));
    accepted(array("CMD").iter().map(String::as_str));
    let health = of("HEALTHCHECK")[0].split_once("CMD ").unwrap().1;
    let health: Vec<String> = serde_json::from_str(health).unwrap();
    accepted(health[1..].iter().map(String::as_str));
    // Nothing but what the build stage made, and that begins with a tag that is not `latest`, which a digest may take the place of.
    assert_eq!(of("FROM"), ["$RUST_IMAGE AS build", "scratch"]);
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(of("ARG").contains(&format!("RUST_IMAGE=rust:{version}-bookworm").as_str()), "{:?}", of("ARG"));
    let labels = of("LABEL")[0];
    let version = format!("org.opencontainers.image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(labels.contains(&version) && labels.contains("org.opencontainers.image.revision=$COMMIT"), "{labels}");
}

/// The image's root file system is complete: by `chroot` and without root's rights the binary finds all that it needs in there.
#[test]
fn the_root_file_system_runs() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    let made = Command::new(in_repository("deploy/image/rootfs")).arg(binary()).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for path in ["bin/sh", "usr/bin/sh", "usr/bin/env"] {
        assert!(!root.join(path).exists(), "{path}");
    }
    assert!(fs::read_to_string(root.join("etc/passwd")).unwrap().contains("tidegate:x:65532:65532:"));
    fs::write(root.join("etc/tidegate/rules/rules.yaml"), THREE_A_MINUTE).unwrap();
    // Readable for the user in there, unlike a temporary directory.
    for dir in [dir.path(), &root] {
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let inside = |args: &[&str]| {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532").arg(&root).arg("/usr/bin/tidegate").args(args).stdin(Stdio::null());
        command
    };
    match inside(&["version"]).output() {
        Ok(output) if output.status.code() == Some(125) => {
            return skip(&format!("chroot is not permitted: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skip(&format!("there is no chroot: {error}")),
    }
    let link = fs::read_link(root.join("bin/ratelimit")).unwrap();
    assert_eq!(link.to_str(), Some("/usr/bin/tidegate"), "the name by which manifests start envoyproxy/ratelimit");
    let checked = inside(&["check", "/etc/tidegate/rules"]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let addresses = ["--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0"];
    let mut command = inside(&["serve", "--config", "/etc/tidegate/rules", "--data-dir", "/var/lib/tidegate"]);
    command.args(addresses).stdout(Stdio::null());
    let mut server = TestServer::spawn(TempDir::new().unwrap(), command);
    let health =
        inside(&["health", "--timeout", "20s", "--addr", &format!("http://{}", server.grpc)]).output().unwrap();
    assert!(health.status.success(), "{}", String::from_utf8_lossy(&health.stderr));
    assert_eq!(server.http("GET", "/readyz", b"").0, 200);
    server.signal("INT");
    server.signal("INT");
    server.wait();
}
