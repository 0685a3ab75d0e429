//! Commands over TLS: what they accept, and what they say about the rest.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use crate::TestServer;
use crate::server::certificates::{ca, issue};
use crate::server::{THREE_A_MINUTE, binary, run};

/// How a port is protected.
struct Protection<'p> {
    /// The name of its certificate and key.
    name: &'p str,
    /// The name of the CA of clients.
    clients: Option<&'p str>,
    version: &'static SupportedProtocolVersion,
    alpn: &'static [u8],
}

impl Protection<'_> {
    fn acceptor(&self, dir: &Path) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[self.version]).unwrap();
        let certificate = |name: &str| CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
        let builder = match self.clients {
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(ca)).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_file(dir.join(format!("{}.key", self.name))).unwrap();
        let mut config = builder.with_single_cert(vec![certificate(self.name)], key).unwrap();
        config.alpn_protocols = vec![self.alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// A port with TLS before the port at `addr`.
    fn before(&self, dir: &Path, addr: &str) -> String {
        let (acceptor, addr) = (self.acceptor(dir), addr.to_owned());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = format!("https://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, addr) = (acceptor.clone(), addr.clone());
                    tokio::spawn(async move {
                        let Ok(mut near) = acceptor.accept(stream).await else { return };
                        let mut far = tokio::net::TcpStream::connect(addr).await.unwrap();
                        let _closed = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    });
                }
            });
        });
        port
    }
}

/// A directory with every certificate of these tests.
pub(super) fn certificates() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (ca(dir.path(), "ours"), ca(dir.path(), "theirs"));
    for (name, ca, host, last_year) in [
        ("server", &ours, "127.0.0.1", 2100),
        ("expired", &ours, "127.0.0.1", 2020),
        ("elsewhere", &ours, "elsewhere.example.org", 2100),
        ("client", &ours, "client.example.org", 2100),
        ("stranger", &theirs, "client.example.org", 2100),
    ] {
        issue(dir.path(), name, ca, host, last_year);
    }
    dir
}

const PLAIN: Protection<'static> =
    Protection { name: "server", clients: None, version: &rustls::version::TLS13, alpn: b"h2" };

/// The flags of a client that trusts the CA and shows the certificate.
pub(super) fn flags(dir: &Path, ca: &str, identity: Option<(&str, &str)>) -> Vec<String> {
    let file = |name: &str, kind: &str| dir.join(format!("{name}.{kind}")).display().to_string();
    let mut flags = vec!["--timeout".to_owned(), "20s".to_owned(), "--tls-ca".to_owned(), file(ca, "pem")];
    if let Some((cert, key)) = identity {
        flags.extend(["--tls-cert".to_owned(), file(cert, "pem"), "--tls-key".to_owned(), file(key, "key")]);
    }
    flags
}

/// Runs `ask` and `settings list` on a server with this protection: both end with this status, and say this.
fn check(dir: &Path, protection: &Protection<'_>, flags: &[String], expected: (i32, &str)) {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let (grpc, admin) = (protection.before(dir, &server.grpc), protection.before(dir, &server.admin));
    let ask = ["ask", "--addr", &grpc, "--domain", "api", "--descriptor", "key=v"];
    let list = ["settings", "list", "--admin-addr", &admin];
    for command in [&ask[..], &list[..]] {
        let line = [command, &flags.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        let (code, stdout, stderr) = run(&line, "");
        assert_eq!(code, Some(expected.0), "{line:?}: {stdout}{stderr}");
        assert!(stderr.contains(expected.1), "{line:?}: {stderr}, expected {}", expected.1);
    }
}

#[test]
fn commands_accept_tls_with_and_without_a_client_certificate() {
    let dir = certificates();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mutual = Protection { clients: Some("ours"), version, ..PLAIN };
        check(dir.path(), &Protection { version, ..PLAIN }, &flags(dir.path(), "ours", None), (0, ""));
        check(dir.path(), &mutual, &flags(dir.path(), "ours", Some(("client", "client"))), (0, ""));
    }
}

#[test]
fn without_a_ca_those_of_the_system_are_trusted() {
    let dir = certificates();
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let addr = PLAIN.before(dir.path(), &server.grpc);
    for (ca, expected) in [("ours", 0), ("theirs", 2)] {
        let mut ask = std::process::Command::new(binary());
        ask.args(["ask", "--domain", "api", "--descriptor", "key=v", "--timeout", "20s", "--addr", &addr]);
        let output = ask.env("SSL_CERT_FILE", dir.path().join(format!("{ca}.pem"))).env_remove("SSL_CERT_DIR").output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(expected), "{ca}: {output:?}");
    }
}

#[test]
fn what_is_wrong_with_a_server_is_named() {
    let dir = certificates();
    let ours = flags(dir.path(), "ours", None);
    check(dir.path(), &PLAIN, &flags(dir.path(), "theirs", None), (2, "signed by no trusted CA; --tls-ca names"));
    check(dir.path(), &Protection { name: "expired", ..PLAIN }, &ours, (2, "the server's certificate has expired"));
    check(dir.path(), &Protection { name: "elsewhere", ..PLAIN }, &ours, (2, "is for another host"));
    check(dir.path(), &Protection { name: "ours", ..PLAIN }, &ours, (2, "is that of a CA, which no server may show"));
    check(dir.path(), &Protection { alpn: b"http/1.1", ..PLAIN }, &ours, (2, "TLS: "));
}

#[test]
fn a_server_that_rejects_the_client_is_not_taken_for_one_that_is_down() {
    let dir = certificates();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mutual = Protection { clients: Some("ours"), version, ..PLAIN };
        check(dir.path(), &mutual, &flags(dir.path(), "ours", None), (2, "client certificate"));
        let stranger = flags(dir.path(), "ours", Some(("stranger", "stranger")));
        check(dir.path(), &mutual, &stranger, (2, "client certificate"));
    }
}

#[test]
fn files_and_flags_that_cannot_be_used_are_named() {
    let dir = certificates();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("text.pem"), "no PEM at all, but a secret").unwrap();
    let (cert, key, other, text) = (path("client.pem"), path("client.key"), path("server.key"), path("text.pem"));
    let (https, http) = ("https://127.0.0.1:1", "http://127.0.0.1:1");
    let cases: [(&str, &[&str], &str); 7] = [
        (https, &["--tls-ca", "/nonexistent/ca.pem"], "/nonexistent/ca.pem: No such file"),
        (https, &["--tls-ca", &text], "text.pem has no certificate"),
        (https, &["--tls-ca", &key], "client.key has no certificate"),
        (https, &["--tls-cert", &cert, "--tls-key", &cert], "client.pem has no private key"),
        (https, &["--tls-cert", &cert, "--tls-key", &other], "do not belong together"),
        (https, &["--tls-cert", &cert], "--tls-key"),
        (http, &["--tls-ca", &path("ours.pem")], "apply only to https://"),
    ];
    for (addr, flags, word) in cases {
        let line = [&["ask", "--addr", addr, "--domain", "api", "--descriptor", "key=v"], flags].concat();
        let (code, stdout, stderr) = run(&line, "");
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flags:?}: {stderr}");
        assert!(stderr.contains(word) && !stderr.contains("secret"), "{flags:?}: {stderr}");
    }
}
