//! TLS of the service's own ports: who gets in, what happens when the files change, and what is said about the rest.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::tls::{certificates, flags};
use crate::TestServer;
use crate::server::certificates::{ca, issue};
use crate::server::{DEADLINE, THREE_A_MINUTE, command, eventually, rules_in, run};

/// The flags of a server with this certificate on all of its ports; with a CA of clients if wanted.
fn tls_flags(dir: &Path, name: &str, clients: Option<&str>) -> Vec<String> {
    let file = |name: &str, kind: &str| dir.join(format!("{name}.{kind}")).display().to_string();
    let mut flags = Vec::new();
    for port in ["grpc", "http", "admin"] {
        flags.extend([format!("--{port}-tls-cert"), file(name, "pem"), format!("--{port}-tls-key"), file(name, "key")]);
        flags.extend(clients.into_iter().flat_map(|ca| [format!("--{port}-tls-client-ca"), file(ca, "pem")]));
    }
    flags
}

fn start(dir: &Path, name: &str, clients: Option<&str>) -> TestServer {
    let flags = tls_flags(dir, name, clients);
    TestServer::start(THREE_A_MINUTE, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// An HTTPS client that trusts `ours`, with a certificate if one is named.
fn client(dir: &Path, identity: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ours.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

type Https = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: &str, config: &Arc<ClientConfig>) -> std::io::Result<Https> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    Ok(StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream))
}

/// One request on an open connection; the first bytes of its answer.
fn get(connection: &mut Https, path: &str) -> std::io::Result<String> {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = vec![0; 64 << 10];
    let count = connection.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

fn status(address: &str, config: &Arc<ClientConfig>, path: &str) -> std::io::Result<String> {
    get(&mut connect(address, config)?, path)
}

/// A page of the HTTP port, over TLS without a client certificate.
fn page(server: &TestServer, dir: &Path, path: &str) -> String {
    let mut connection = connect(&server.http, &client(dir, None)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// Every port: with the right certificate, without one, and with one of another CA.
#[test]
fn each_port_accepts_whom_its_ca_has_signed() {
    let dir = certificates();
    let ask = |server: &TestServer, identity: Option<&str>| {
        let flags = flags(dir.path(), "ours", identity.map(|name| (name, name)));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (grpc, admin) = (format!("https://{}", server.grpc), format!("https://{}", server.admin));
        let ask = ["ask", "--addr", &grpc, "--domain", "api", "--descriptor", "key=v"];
        let list = ["settings", "list", "--admin-addr", &admin];
        let http = status(&server.http, &client(dir.path(), identity), "/livez");
        let of = |line: &[&str]| run(&[line, &flags].concat(), "").0 == Some(0);
        [of(&ask), of(&list), http.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))]
    };
    let open = start(dir.path(), "server", None);
    assert_eq!(ask(&open, None), [true; 3]);
    let mutual = start(dir.path(), "server", Some("ours"));
    assert_eq!(ask(&mutual, Some("client")), [true; 3]);
    assert_eq!(ask(&mutual, None), [false; 3], "no certificate");
    assert_eq!(ask(&mutual, Some("stranger")), [false; 3], "of another CA");
}

/// The files are links through `..data`, as in a Kubernetes Secret. While they are swapped, no connection fails, and one that exists goes on.
#[test]
fn a_new_certificate_is_served_without_an_interruption() {
    let dir = tempfile::tempdir().unwrap();
    let own = ca(dir.path(), "ours");
    for (version, year) in [("v1", 2090), ("v2", 2091)] {
        fs::create_dir(dir.path().join(version)).unwrap();
        issue(&dir.path().join(version), "server", &own, "127.0.0.1", year);
    }
    symlink("v1", dir.path().join("..data")).unwrap();
    for file in ["server.pem", "server.key"] {
        symlink(format!("..data/{file}"), dir.path().join(file)).unwrap();
    }
    let server = start(dir.path(), "server", None);
    let config = client(dir.path(), None);
    let mut kept = connect(&server.http, &config).unwrap();
    assert!(get(&mut kept, "/livez").unwrap().starts_with("HTTP/1.1 200"));
    let expiry = || {
        let metrics = page(&server, dir.path(), "/metrics");
        let line =
            metrics.lines().find(|line| line.starts_with("tidegate_tls_cert_expiry_timestamp_seconds{port=\"http\"}"));
        line.unwrap().to_owned()
    };
    let before = expiry();
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Each with a handshake of its own.
                let answer = status(&server.http, &client(dir.path(), None), "/livez").unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        symlink("v2", dir.path().join("..new")).unwrap();
        fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        eventually("the new certificate", || expiry() != before);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 0);
    assert!(get(&mut kept, "/livez").unwrap().starts_with("HTTP/1.1 200"), "the connection from before");
}

/// A pair that does not match leaves the one before in force, with one line and a metric; a good one takes effect again.
#[test]
fn a_pair_that_does_not_match_is_not_taken() {
    let dir = certificates();
    let server = start(dir.path(), "server", None);
    let (own, other) = (dir.path().join("server.key"), dir.path().join("client.key"));
    let good = fs::read(&own).unwrap();
    fs::copy(other, &own).unwrap();
    let outdated = |value: u8| format!("tidegate_tls_files_outdated{{port=\"http\"}} {value}");
    eventually("the mismatch is noticed", || page(&server, dir.path(), "/metrics").contains(&outdated(1)));
    let lines = server.log().iter().filter(|line| line.contains("cannot be used; those before")).count();
    assert_eq!(lines, 3, "one for each port");
    fs::write(&own, good).unwrap();
    eventually("the pair is in force again", || page(&server, dir.path(), "/metrics").contains(&outdated(0)));
}

/// Plain text on a port with TLS, and TLS on a port without: closed, counted, and logged once.
#[test]
fn the_wrong_protocol_is_counted_and_logged_once() {
    let dir = certificates();
    let server = start(dir.path(), "server", None);
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&server.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _closed = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let metrics = page(&server, dir.path(), "/metrics");
    assert!(metrics.contains("tidegate_tls_failed_handshakes_total{port=\"http\"} 5"), "{metrics}");
    assert_eq!(server.log().iter().filter(|line| line.contains("TLS handshake failed")).count(), 1);

    let plain = TestServer::start(THREE_A_MINUTE, &[]);
    for address in [&plain.http, &plain.grpc] {
        for _ in 0..3 {
            assert!(status(address, &client(dir.path(), None), "/livez").is_err());
        }
    }
    assert_eq!(plain.metric("tidegate_tls_on_plain_ports_total"), 6);
    assert_eq!(plain.log().iter().filter(|line| line.contains("a client uses TLS")).count(), 1);
}

/// What cannot be used at the start is one clear line.
#[test]
fn files_that_cannot_be_used_end_the_start() {
    let dir = certificates();
    let rules = rules_in(&TempDir::new_in(dir.path()).unwrap(), THREE_A_MINUTE);
    let rules = {
        fs::create_dir_all(Path::new(&rules).parent().unwrap()).unwrap();
        fs::write(&rules, THREE_A_MINUTE).unwrap();
        rules
    };
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key, other) = (path("server.pem"), path("server.key"), path("client.key"));
    for (flags, expected) in [
        (vec!["--grpc-tls-cert", &cert, "--grpc-tls-key", "/nonexistent.key"], "/nonexistent.key: No such file"),
        (vec!["--grpc-tls-cert", &key, "--grpc-tls-key", &key], "has no certificate"),
        (vec!["--grpc-tls-cert", &cert, "--grpc-tls-key", &other], "do not belong together"),
        (vec!["--admin-tls-cert", &cert, "--admin-tls-key", &key, "--admin-tls-client-ca", &key], "has no certificate"),
        (vec!["--http-tls-cert", &cert], "--http-tls-key"),
    ] {
        let output = command(&rules, &flags).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{flags:?}: {error}");
    }
}

/// Another implementation: each port, both versions, and the protocol that is negotiated.
#[test]
fn openssl_connects_to_each_port() {
    let dir = certificates();
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        return eprintln!("SKIPPED openssl_connects_to_each_port: openssl is not installed");
    }
    let server = start(dir.path(), "server", None);
    for address in [&server.grpc, &server.http, &server.admin] {
        for version in ["-tls1_2", "-tls1_3"] {
            let mut client = Command::new("openssl");
            client.args(["s_client", "-brief", version, "-alpn", "h2", "-verify_return_error", "-connect", address]);
            client.arg("-CAfile").arg(dir.path().join("ours.pem")).stdin(Stdio::null());
            let output = client.output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && text.contains("Verification: OK"), "{address} {version}: {text}");
        }
        let mut old = Command::new("openssl");
        old.args(["s_client", "-brief", "-tls1_1", "-connect", address]).stdin(Stdio::null()).stderr(Stdio::null());
        assert!(!old.status().unwrap().success(), "{address}: TLS 1.1 is too old");
    }
}
