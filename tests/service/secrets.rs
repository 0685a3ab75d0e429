//! Secrets are in no log, page, message or help, at any level: tokens, keys, and what telemetry is exported with.

use std::fs;
use std::process::Stdio;

use tempfile::TempDir;

use super::access::request;
use crate::TestServer;
use crate::server::certificates::{ca, issue};
use crate::server::{command, eventually, http, run};

const RULES: &str = "domain: api\ndescriptors:\n- {key: user, rate_limit: {unit: year, requests_per_unit: 3}}\n";

/// The lines of a key file that hold the key.
fn key_lines(pem: &str) -> Vec<String> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.map(str::to_owned).collect()
}

/// A directory with every kind of secret.
struct Secrets {
    dir: TempDir,
    token: String,
    /// Its line in the file of tokens.
    line: String,
}

/// A token that no file has.
const WRONG: &str = "tdg_ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

impl Secrets {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = ca(dir.path(), "ours");
        for name in ["server", "other"] {
            issue(dir.path(), name, &own, "127.0.0.1", 2100);
        }
        let (status, out, _) = run(&["token", "new", "--name", "root", "--role", "admin"], "");
        assert_eq!(status, Some(0));
        let (token, line) = out.trim_end().split_once('\n').unwrap();
        let files = [
            ("tokens.yaml", &*format!("tokens:\n{line}\n")),
            ("token", token),
            ("rules.yaml", RULES),
            ("wrong", WRONG),
        ];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self { token: token.to_owned(), line: line.to_owned(), dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A server with all of them, which logs everything.
    fn server(&self) -> TestServer {
        let [cert, key, tokens] = ["server.pem", "server.key", "tokens.yaml"].map(|name| self.path(name));
        let flags =
            ["--log-level", "trace", "--grpc-tls-cert", &cert, "--grpc-tls-key", &key, "--admin-tokens", &tokens];
        let mut traced = command(&self.path("rules.yaml"), &flags);
        traced.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:collector-password@127.0.0.1:1");
        traced.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=collector-token");
        TestServer::spawn(tempfile::tempdir().unwrap(), traced)
    }

    /// What no one may see.
    fn all(&self) -> Vec<String> {
        let hash = self.line.split("sha256: \"").nth(1).unwrap().split('"').next().unwrap();
        let mut all = vec![self.token[4..].to_owned(), hash.to_owned(), WRONG[4..].to_owned()];
        all.extend(["collector-password", "collector-token"].map(str::to_owned));
        for name in ["server.key", "other.key"] {
            all.extend(key_lines(&fs::read_to_string(self.path(name)).unwrap()));
        }
        all
    }

    fn check(&self, shown: &[String]) {
        let all = self.all();
        assert!(all.iter().all(|secret| secret.len() > 10) && all.len() > 8);
        for shown in shown {
            assert!(!shown.is_empty());
            for secret in &all {
                assert!(!shown.contains(secret.as_str()), "{secret} in {shown}");
            }
        }
    }
}

/// Commands with the right token and with a wrong one, checks, pages, the audit log, and files that cannot be used any more.
#[test]
fn a_server_shows_no_secret_at_any_level() {
    let secrets = Secrets::make();
    let server = secrets.server();
    let mut shown = Vec::new();
    let set = ["settings", "set", "--rule", "api.user", "requests_per_unit", "2", "--reason", "less"];
    for (line, token, expected) in [
        (&set[..], "token", Some(0)),
        (&["settings", "list"], "token", Some(0)),
        (&["counters", "list"], "token", Some(0)),
        (&["audit"], "token", Some(0)),
        (&["settings", "list"], "wrong", Some(1)),
    ] {
        let connection = ["--admin-addr", &server.admin, "--token-file", &secrets.path(token)];
        let (status, out, err) = run(&[line, &connection].concat(), "");
        assert_eq!(status, expected, "{line:?}: {err}");
        shown.push(out + &err);
    }
    let (grpc, ours) = (format!("https://{}", server.grpc), secrets.path("ours.pem"));
    for _ in 0..4 {
        let ask = ["ask", "--addr", &grpc, "--tls-ca", &ours, "--domain", "api", "--descriptor", "user=ann"];
        shown.push(run(&ask, "").1);
    }
    shown.extend(["/metrics", "/readyz"].map(|page| http(&server.http, "GET", page, b"").1));
    for page in ["/rlconfig", "/metrics", "/limits?domain=api&user=ann"] {
        let headers = format!("host: localhost\r\nauthorization: Bearer {}\r\n", secrets.token);
        let (status, answer) = request(&server.admin, page, &headers);
        assert_eq!(status, 200, "{page}: {answer}");
        shown.push(answer);
    }
    let before = secrets.all();
    fs::write(secrets.path("tokens.yaml"), format!("tokens:\n{0}\n{0}\n", secrets.line)).unwrap();
    fs::copy(secrets.path("other.key"), secrets.path("server.key")).unwrap();
    eventually("both errors", || {
        let log = server.log().join("\n");
        log.contains("the tokens cannot be loaded") && log.contains("the TLS files cannot be used")
    });
    shown.push(server.log().join("\n"));
    secrets.check(&shown);
    assert!(before.iter().all(|secret| !shown.iter().any(|shown| shown.contains(secret.as_str()))));
}

/// Files in the place of others, and what the command line says of itself.
#[test]
fn a_start_that_fails_and_the_help_show_no_secret() {
    let secrets = Secrets::make();
    let rules = secrets.path("rules.yaml");
    let mut shown = Vec::new();
    let mut fails = |flags: &[&str]| {
        let output = command(&rules, flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags:?}");
        shown.push(String::from_utf8(output.stderr).unwrap());
    };
    fs::write(secrets.path("twice.yaml"), format!("tokens:\n{0}\n{0}\n", secrets.line)).unwrap();
    for file in ["twice.yaml", "other.key", "token"] {
        fails(&["--admin-tokens", &secrets.path(file)]);
    }
    for [cert, key] in [["token", "server.key"], ["server.pem", "token"], ["server.key", "server.key"]] {
        fails(&["--grpc-tls-cert", &secrets.path(cert), "--grpc-tls-key", &secrets.path(key)]);
    }
    let mut help = command(&rules, &["--help"]);
    help.stdout(Stdio::piped()).env("TIDEGATE_TOKEN_FILE", secrets.path("token"));
    help.env("TIDEGATE_SMTP_URL", "smtp://ops:collector-password@127.0.0.1:1");
    shown.push(String::from_utf8(help.output().unwrap().stdout).unwrap());
    secrets.check(&shown);
}
