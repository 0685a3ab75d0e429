//! Control planes with TLS 1.3 that demand a client certificate, as Envoy Gateway does.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::TestServer;
use crate::control_plane::ControlPlane;
use crate::replica::{health, limit_becomes, serve};
use crate::server::certificates::{ca, issue};
use crate::server::eventually;
use crate::sets::Set;

/// TLS before a control plane; the files are read at each connection.
fn tls_before(dir: &Path, plane: &ControlPlane) -> String {
    tls_at("127.0.0.1:0", dir, plane)
}

/// The same at this address.
pub(crate) fn tls_at(at: &str, dir: &Path, plane: &ControlPlane) -> String {
    let (dir, addr) = (dir.to_owned(), plane.addr);
    let listener = std::net::TcpListener::bind(at).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor(&dir);
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    let Ok(mut far) = tokio::net::TcpStream::connect(addr).await else { return };
                    let _closed = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    });
    url
}

fn acceptor(dir: &Path) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = |name: &str| CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("clients")).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_single_cert(vec![certificate("server")], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A directory with a CA, a server for `host`, and a client of these CAs.
fn certificates(host: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (servers, clients) = (ca(dir.path(), "servers"), ca(dir.path(), "clients"));
    issue(dir.path(), "server", &servers, host, 2100);
    issue(dir.path(), "client", &clients, "*.example-system", 2100);
    issue(dir.path(), "stranger", &servers, "*.example-system", 2100);
    dir
}

fn start(dir: &Path, url: &str, identity: &str, more: &[&str]) -> TestServer {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (file("servers.pem"), file(&format!("{identity}.pem")), file(&format!("{identity}.key")));
    let tls = ["--xds-ca", &ca, "--xds-cert", &cert, "--xds-key", &key, "--xds-retry-max", "500ms"];
    serve(url, &[&tls[..], more].concat())
}

#[test]
fn rules_come_over_mutual_tls() {
    let dir = certificates("127.0.0.1");
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let server = start(dir.path(), &tls_before(dir.path(), &plane), "client", &[]);
    limit_becomes(&server, "api.key", Some(1));
    assert_eq!(health(&server), 200);
}

#[test]
fn the_name_of_the_server_can_be_given() {
    let dir = certificates("gateway.example.org");
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let url = tls_before(dir.path(), &plane);
    let server = start(dir.path(), &url, "client", &[]);
    server.log_until("is for another host");
    let server = start(dir.path(), &url, "client", &["--xds-server-name", "gateway.example.org"]);
    limit_becomes(&server, "api.key", Some(1));
}

#[test]
fn what_the_server_rejects_is_logged() {
    let dir = certificates("127.0.0.1");
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let url = tls_before(dir.path(), &plane);
    let server = start(dir.path(), &url, "stranger", &[]);
    server.log_until("xDS: https://");
    assert_eq!((health(&server), plane.streams()), (500, 0));
}

/// All certificates are replaced, CAs too, as a control plane does that signs them with a new CA.
#[test]
fn files_are_read_again_for_each_connection() {
    let dir = certificates("127.0.0.1");
    let plane = ControlPlane::start(Set::new("1", "api\n  key 1/hour\n"));
    let server = start(dir.path(), &tls_before(dir.path(), &plane), "client", &["--xds-retry", "20ms"]);
    limit_becomes(&server, "api.key", Some(1));
    let others = certificates("127.0.0.1");
    for file in std::fs::read_dir(others.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    plane.end_streams();
    // A new stream is on a new connection, for which only the new files are good.
    eventually("a new stream", || plane.streams() >= 2);
    plane.push(Set::new("2", "api\n  key 2/hour\n"));
    limit_becomes(&server, "api.key", Some(2));
}
