//! The container contracts of public manifests, to the letter: the program's name, the arguments, the variables, the mounts and the default ports.
//!
//! Default ports are those of the machine, so each contract runs in a network of its own (`unshare`), where this program runs again with the test
//! [`inside`]. The process is the user 65534 without any capability, as Envoy Gateway's Deployment has it, and cannot write to its root. Where the
//! system does not allow that, the tests say SKIPPED and pass.

use std::env;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, thread};

use crate::TestServer;
use crate::control_plane::ControlPlane;
use crate::gateway_client;
use crate::replica::{check, check_over, limit_becomes};
use crate::server::certificates::{ca, issue};
use crate::server::{binary, eventually, http};
use crate::sets::Set;

/// One contract.
struct Contract {
    variables: &'static str,
    arguments: &'static [&'static str],
    /// Files of the image's root: path and content.
    files: &'static [(&'static str, &'static str)],
    /// The name of a ConfigMap's directory; its files are links, as the kubelet makes them.
    config_map: Option<&'static str>,
    /// Names of hosts that are this machine.
    hosts: &'static str,
}

const NONE: Contract = Contract { variables: "", arguments: &[], files: &[], config_map: None, hosts: "" };

/// Istio, `samples/ratelimit/rate-limit-service.yaml`, with the ConfigMap of its comment.
const ISTIO: Contract = Contract {
    variables: "LOG_LEVEL=debug REDIS_SOCKET_TYPE=tcp REDIS_URL=redis:6379 USE_STATSD=false RUNTIME_ROOT=/data \
                RUNTIME_SUBDIRECTORY=ratelimit RUNTIME_WATCH_ROOT=false RUNTIME_IGNOREDOTFILES=true HOST=:: GRPC_HOST=::",
    files: &[("data/ratelimit/config/config.yaml", ECHO)],
    config_map: Some("data/ratelimit/config"),
    ..NONE
};

const ECHO: &str = "domain: echo-ratelimit\ndescriptors:\n  - key: PATH\n    value: \"/\"\n    rate_limit:\n      unit: minute\n      \
                    requests_per_unit: 1\n  - key: PATH\n    rate_limit:\n      unit: minute\n      requests_per_unit: 100\n";

/// Contour, `examples/ratelimit/02-ratelimit.yaml`.
const CONTOUR: Contract = Contract {
    variables: "USE_STATSD=false LOG_LEVEL=debug REDIS_SOCKET_TYPE=tcp REDIS_URL=localhost:6379 RUNTIME_ROOT=/data \
                RUNTIME_SUBDIRECTORY=ratelimit RUNTIME_WATCH_ROOT=false RUNTIME_IGNOREDOTFILES=true",
    files: &[("data/ratelimit/config/ratelimit-config.yaml", ECHO)],
    config_map: Some("data/ratelimit/config"),
    ..NONE
};

/// envoyproxy/ratelimit, `docker-compose.yml`: no command, and a watched root.
const COMPOSE: Contract = Contract {
    variables: "USE_STATSD=false LOG_LEVEL=debug REDIS_SOCKET_TYPE=tcp REDIS_URL=redis:6379 RUNTIME_ROOT=/data RUNTIME_SUBDIRECTORY=ratelimit",
    files: &[("data/ratelimit/config/config.yaml", ECHO), ("data/ratelimit/config/more", OTHER)],
    ..NONE
};

const OTHER: &str = "domain: other\ndescriptors:\n  - key: any\n    rate_limit: {unit: minute, requests_per_unit: 1}\n";

/// envoyproxy/ratelimit, `docker-compose-example.yml`.
const COMPOSE_EXAMPLE: Contract = Contract {
    variables: "USE_STATSD=true STATSD_HOST=statsd STATSD_PORT=9125 LOG_LEVEL=debug REDIS_SOCKET_TYPE=tcp REDIS_URL=redis:6379 \
                RUNTIME_ROOT=/data RUNTIME_SUBDIRECTORY=ratelimit RUNTIME_WATCH_ROOT=false",
    files: &[("data/ratelimit/config/config.yaml", ECHO)],
    ..NONE
};

/// Envoy AI Gateway, the rate limit service of a QuotaPolicy.
const AI_GATEWAY: Contract = Contract {
    variables: "LOG_LEVEL=debug REDIS_SOCKET_TYPE=tcp REDIS_URL=redis.redis-system.svc.cluster.local:6379 RUNTIME_ROOT=/data \
                RUNTIME_SUBDIRECTORY=ratelimit USE_STATSD=false CONFIG_TYPE=GRPC_XDS_SOTW CONFIG_GRPC_XDS_NODE_ID=envoy-ai-gateway-ratelimit \
                CONFIG_GRPC_XDS_SERVER_URL=ai-gateway-controller.envoy-ai-gateway-system.svc.cluster.local:18002 GRPC_PORT=8081",
    arguments: &["--quotaRateLimitServiceHost=envoy-ai-gateway-ratelimit.envoy-gateway-system"],
    hosts: "ai-gateway-controller.envoy-ai-gateway-system.svc.cluster.local",
    ..NONE
};

/// Envoy Gateway 1.9.0, the whole environment of its Deployment.
const ENVOY_GATEWAY: Contract = Contract {
    variables: "RUNTIME_ROOT=/data RUNTIME_SUBDIRECTORY=ratelimit RUNTIME_IGNOREDOTFILES=true RUNTIME_WATCH_ROOT=false LOG_LEVEL=info \
                USE_STATSD=false CONFIG_TYPE=GRPC_XDS_SOTW CONFIG_GRPC_XDS_SERVER_URL=envoy-gateway:18001 \
                CONFIG_GRPC_XDS_NODE_ID=envoy-ratelimit GRPC_SERVER_USE_TLS=true GRPC_SERVER_TLS_CERT=/certs/tls.crt \
                GRPC_SERVER_TLS_KEY=/certs/tls.key GRPC_SERVER_TLS_CA_CERT=/certs/ca.crt CONFIG_GRPC_XDS_SERVER_USE_TLS=true \
                CONFIG_GRPC_XDS_CLIENT_TLS_CERT=/certs/tls.crt CONFIG_GRPC_XDS_CLIENT_TLS_KEY=/certs/tls.key \
                CONFIG_GRPC_XDS_SERVER_TLS_CACERT=/certs/ca.crt FORCE_START_WITHOUT_INITIAL_CONFIG=true REDIS_SOCKET_TYPE=tcp \
                REDIS_URL=unused.invalid:6379 USE_PROMETHEUS=true PROMETHEUS_ADDR=:19001 PROMETHEUS_MAPPER_YAML=/etc/statsd-exporter/conf.yaml",
    hosts: "envoy-gateway",
    ..NONE
};

/// A program, and what the reference's guides append to its arguments.
const AGENTGATEWAY: Contract = Contract {
    variables: "REDIS_URL=redis:6379 USE_STATSD=false LOG_LEVEL=warn RUNTIME_ROOT=/data RUNTIME_SUBDIRECTORY=ratelimit",
    arguments: &["-config", "/data/ratelimit/config/config.yaml"],
    files: &[("data/ratelimit/config/config.yaml", ECHO)],
    ..NONE
};

macro_rules! contracts {
    ($($name:ident => $run:expr;)*) => {
        $(#[test]
        fn $name() {
            in_a_network_of_its_own(stringify!($name));
        })*

        /// One contract, in a network where all ports are free.
        #[test]
        #[ignore = "the other tests run it in networks of their own"]
        fn inside() {
            match env::var("CONTRACT").unwrap_or_default().as_str() {
                $(stringify!($name) => $run(),)*
                "" => {}
                other => panic!("no contract {other}"),
            }
        }
    };
}

contracts! {
    istio_s_sample => || echo(&ISTIO, "[::]");
    contour_s_example => || echo(&CONTOUR, "0.0.0.0");
    the_compose_file_of_the_reference => compose;
    the_compose_example_of_the_reference => || echo(&COMPOSE_EXAMPLE, "0.0.0.0");
    the_argument_of_agentgateway_s_guide => || echo(&AGENTGATEWAY, "0.0.0.0");
    envoy_ai_gateway_s_quota_service => ai_gateway;
    envoy_gateway_s_deployment => envoy_gateway;
}

/// The default ports, and the configuration of Istio's sample.
fn echo(contract: &Contract, host: &str) {
    let server = contract.start();
    assert_eq!((&*server.grpc, &*server.http), (&*format!("{host}:8081"), &*format!("{host}:8080")));
    let answers: Vec<_> = (0..2).map(|_| check(&server, "echo-ratelimit", &[("PATH", "/")])).collect();
    assert_eq!(answers, ["OK", "OVER_LIMIT"]);
    assert_eq!(check(&server, "echo-ratelimit", &[("PATH", "/other")]), "OK");
    assert_eq!(server.http("GET", "/healthcheck", b""), (200, "OK".to_owned()));
    // As reached from another pod, by IPv4.
    let debug = |path: &str| http("127.0.0.1:6070", "GET", path, b"").1;
    assert!(debug("/rlconfig").contains("echo-ratelimit.PATH_/: unit=MINUTE requests_per_unit=1, shadow_mode: false"));
    assert!(debug("/").contains("/rlconfig"));
    assert!(
        debug("/stats").contains("ratelimit.service.rate_limit.echo-ratelimit.PATH_/.over_limit: 1"),
        "{}",
        debug("/stats")
    );
    let log = server.log().join("\n");
    assert!(log.contains("variables that are honoured: ") && log.contains("REDIS_URL is set, and not used"), "{log}");
    assert!(!log.contains("6379"), "no value of *_URL: {log}");
    assert_eq!(log.contains("arguments that are ignored: "), !contract.arguments.is_empty(), "{log}");
}

fn compose() {
    let server = COMPOSE.start();
    assert_eq!(check(&server, "echo-ratelimit", &[("PATH", "/")]), "OK");
    // Every file has rules, whatever its name.
    assert_eq!(check(&server, "other", &[("any", "x")]), "OK");
    assert_eq!(check(&server, "other", &[("any", "x")]), "OVER_LIMIT");
}

fn ai_gateway() {
    let quota = "ai-gateway-quota\n  backend_name=default/openai\n    model_name_override=gpt-4 2/hour\n";
    let plane = ControlPlane::at("127.0.0.1:18002", Set::new("1", quota));
    let server = AI_GATEWAY.start();
    let ack = plane.acked(0, "1");
    assert_eq!(ack.node.unwrap().id, "envoy-ai-gateway-ratelimit");
    let entries = [("backend_name", "default/openai"), ("model_name_override", "gpt-4")];
    let answers: Vec<_> = (0..3).map(|_| check(&server, "ai-gateway-quota", &entries)).collect();
    assert_eq!(answers, ["OK", "OK", "OVER_LIMIT"]);
}

fn envoy_gateway() {
    let certs = tempfile::tempdir().unwrap();
    let authority = ca(certs.path(), "servers");
    issue(certs.path(), "server", &authority, "envoy-gateway", 2100);
    issue(certs.path(), "client", &authority, "*.envoy-gateway-system", 2100);
    // It signs servers and clients with one CA.
    fs::copy(certs.path().join("servers.pem"), certs.path().join("clients.pem")).unwrap();
    let plane = ControlPlane::start(Set::new("", ""));
    crate::tls::tls_at("127.0.0.1:18001", certs.path(), &plane);
    let read = |name: &str| fs::read_to_string(certs.path().join(name)).unwrap();
    let files = [
        ("certs/tls.crt", read("client.pem")),
        ("certs/tls.key", read("client.key")),
        ("certs/ca.crt", read("servers.pem")),
    ];
    let server = ENVOY_GATEWAY.start_with(&files);
    // Without a limit it sends nothing, and the probes must succeed.
    eventually("healthy without rules", || server.http("GET", "/healthcheck", b"").0 == 200);
    plane.push(Set::new(
        "1",
        "envoy-gateway-system/eg/http\n  masked_remote_address=0.0.0.0/0\n    remote_address 1/hour\n",
    ));
    limit_becomes(&server, "envoy-gateway-system/eg/http.masked_remote_address_0.0.0.0/0.remote_address", Some(1));

    // Envoy checks the CA only, sends no name, and shows a certificate only if it is asked to.
    let addr = server.grpc_addr();
    let channel = || gateway_client::connect(addr, certs.path());
    let entries = [("masked_remote_address", "0.0.0.0/0"), ("remote_address", "10.0.0.1")];
    let answers: Vec<_> = (0..2).map(|_| check_over(channel(), "envoy-gateway-system/eg/http", &entries)).collect();
    assert_eq!(answers, ["OK", "OVER_LIMIT"]);

    let (status, metrics) = http("127.0.0.1:19001", "GET", "/metrics", b"");
    assert_eq!(status, 200);
    let series = metrics.lines().find(|line| line.starts_with("ratelimit_service_rate_limit_over_limit{"));
    let series = series.unwrap_or_else(|| panic!("{metrics}"));
    assert!(
        series.contains("key1=\"masked_remote_address_0_0_0_0/0\"") && series.contains("key2=\"remote_address\""),
        "{series}"
    );
    let (status, rules) = http("127.0.0.1:6070", "GET", "/rlconfig", b"");
    assert!(status == 200 && rules.contains("requests_per_unit=1"), "{rules}");
    let log = server.log().join("\n");
    assert!(log.contains("GRPC_SERVER_TLS_CA_CERT (it is not read there either"), "{log}");
}

impl Contract {
    fn start(&self) -> TestServer {
        self.start_with(&[])
    }

    /// Starts the program as the container would be: its own root, which cannot be written, these variables and no other.
    fn start_with(&self, more: &[(&str, String)]) -> TestServer {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let given = self.files.iter().map(|(path, text)| (*path, (*text).to_owned()));
        for (path, text) in given.chain(more.iter().map(|(path, text)| (*path, text.clone()))) {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        if let Some(name) = self.config_map {
            link_as_kubelet(&root.join(name));
        }
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost {}\n", self.hosts)).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", IN_ITS_ROOT, "sh"]);
        command.arg(env::var("AS_NOBODY").unwrap());
        command
            .arg(&root)
            .arg(binary())
            .args(self.variables.split_whitespace())
            .arg("/bin/ratelimit")
            .args(self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let server = TestServer::spawn(dir, command);
        let log = server.log();
        assert!(log.iter().any(|line| line == "as 65534:65534 with 0000000000000000"), "{log:?}");
        assert!(log.iter().any(|line| line.ends_with("/written': Read-only file system")), "{log:?}");
        server
    }
}

/// `$1` becomes the user 65534; `$2` becomes the root, with the libraries of this machine, and cannot be written; the program `$3` is `/bin/ratelimit` in
/// it. The process first says who it is, and tries to write.
const IN_ITS_ROOT: &str = r#"
as_nobody=$1 root=$2 program=$3; shift 3
mount --bind "$root" "$root"
mkdir -p "$root/bin" "$root/proc"
: > "$root/bin/ratelimit"
mount --bind "$program" "$root/bin/ratelimit"
mount --rbind /proc "$root/proc"
for dir in /usr /lib /lib64; do
    if [ -d "$dir" ]; then mkdir -p "$root$dir"; mount --rbind "$dir" "$root$dir"; fi
done
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . .
umount -l .
cd /
exec $as_nobody setpriv --no-new-privs --inh-caps=-all --bounding-set=-all /usr/bin/sh -uc '
    echo "as $(/usr/bin/id -u):$(/usr/bin/id -g) with $(/usr/bin/sed -n "s/^CapEff:\s*//p" /proc/self/status)" >&2
    /usr/bin/touch /written
    exec /usr/bin/env -i "$@"
' sh "$@"
"#;

/// `config.yaml -> ..data/config.yaml`, `..data -> ..2026`.
fn link_as_kubelet(dir: &Path) {
    let version = dir.join("..2026");
    fs::create_dir(&version).unwrap();
    for file in fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|file| file.path().is_file()) {
        fs::rename(file.path(), version.join(file.file_name())).unwrap();
        symlink(Path::new("..data").join(file.file_name()), file.path()).unwrap();
    }
    symlink("..2026", dir.join("..data")).unwrap();
}

/// Runs [`inside`] with this contract, as root with a network of its own.
fn in_a_network_of_its_own(contract: &str) {
    let test = thread::current().name().unwrap_or_default().to_owned();
    let Some((flags, as_nobody)) = WAYS.into_iter().find(|(flags, as_nobody)| is_possible(flags, as_nobody)) else {
        let why = format!("SKIPPED: {test}: no namespaces of networks, mounts and users can be made here\n");
        let _closed = std::io::stderr().write_all(why.as_bytes());
        return;
    };
    let mut again = unshare(flags);
    let hosts = "127.0.0.1 localhost envoy-ratelimit.envoy-gateway-system\n";
    let hosts_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(hosts_file.path(), hosts).unwrap();
    again.arg("ip link set lo up; mount --bind \"$1\" /etc/hosts; shift; exec \"$@\"").arg("sh").arg(hosts_file.path());
    again.arg(env::current_exe().unwrap()).args(["--ignored", "--exact", "contracts::inside", "--nocapture"]);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        again.env_remove(name);
    }
    let output = again.env("CONTRACT", contract).env("AS_NOBODY", as_nobody).output().unwrap();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{contract}:\n{}{}", lossy(&output.stdout), lossy(&output.stderr));
    assert!(lossy(&output.stdout).contains("1 passed"), "{}", lossy(&output.stdout));
}

/// How root is had, and how the process becomes the user 65534: root as it is, or that of a namespace of users, in which only one user can be another.
const WAYS: [(&[&str], &str); 2] = [
    (&[], "setpriv --reuid=65534 --regid=65534 --clear-groups"),
    (&["--map-root-user"], "unshare --user --map-user=65534 --map-group=65534"),
];

fn unshare(flags: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(flags).args(["--net", "--mount", "--propagation", "private", "sh", "-euc"]);
    command
}

fn is_possible(flags: &[&str], as_nobody: &str) -> bool {
    let mut tried = unshare(flags);
    let output =
        tried.arg(format!("ip link set lo up; mount --bind /tmp /tmp; {as_nobody} setpriv --no-new-privs true"));
    output.output().is_ok_and(|output| output.status.success())
}
