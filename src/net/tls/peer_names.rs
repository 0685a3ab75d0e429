//! The names in the certificate of a client.

use tokio_rustls::server::TlsStream;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// The subject alternative names of a client's certificate, which a CA of the port has signed. None without a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNames {
    /// URIs, such as SPIFFE ids.
    pub(crate) uris: Vec<String>,
    /// DNS names.
    pub(crate) dns: Vec<String>,
}

impl PeerNames {
    /// Those of the peer of a connection.
    pub(crate) fn of<S>(stream: &TlsStream<S>) -> Self {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        certificates.first().map(|own| Self::read(own)).unwrap_or_default()
    }

    /// Whether one of them is this name, or a DNS name with a wildcard for its first label.
    pub(super) fn have(&self, name: &str) -> bool {
        let is_dns = |own: &String| {
            let below = own.strip_prefix("*.").zip(name.split_once('.'));
            own.eq_ignore_ascii_case(name) || below.is_some_and(|(own, (_, rest))| own.eq_ignore_ascii_case(rest))
        };
        self.uris.iter().any(|own| own == name) || self.dns.iter().any(is_dns)
    }

    fn read(certificate: &[u8]) -> Self {
        let mut names = Self::default();
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return names };
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectAlternativeName(found) = extension.parsed_extension() {
                for name in found.general_names.iter().take(MAX_NAMES) {
                    match name {
                        GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                        GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                        _ => {}
                    }
                }
            }
        }
        names
    }
}

/// Names of one certificate: a SPIFFE id is the only URI of its certificate, and few have more than some DNS names.
const MAX_NAMES: usize = 100;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, HandshakeKind, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use super::super::{ServerFiles, TlsServer};
    use super::*;
    use crate::runtime::lifecycle::Lifecycle;

    #[test]
    fn a_name_is_one_of_them_or_below_a_wildcard() {
        let names = PeerNames {
            uris: vec!["spiffe://cluster.local/ns/shop".to_owned()],
            dns: vec!["cart.example.org".to_owned(), "*.gateways.example.org".to_owned()],
        };
        for (name, expected) in [
            ("Cart.example.org", true),
            ("*.gateways.example.org", true),
            ("one.gateways.example.org", true),
            ("spiffe://cluster.local/ns/shop", true),
            ("gateways.example.org", false),
            ("a.b.gateways.example.org", false),
            ("spiffe://cluster.local/ns", false),
            ("", false),
        ] {
            assert_eq!(names.have(name), expected, "{name}");
        }
    }

    /// The files of a server and of a client with these names, signed by one CA.
    fn write_files(dir: &Path) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let ca = Issuer::new(params, key);
        let client = [
            SanType::URI("spiffe://cluster.local/ns/shop/sa/cart".try_into().unwrap()),
            SanType::DnsName("cart.example.org".try_into().unwrap()),
            SanType::Rfc822Name("cart@example.org".try_into().unwrap()),
        ];
        let server = [SanType::DnsName("localhost".try_into().unwrap())];
        for (name, names) in [("server", server.to_vec()), ("client", client.to_vec())] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = names;
            let key = KeyPair::generate().unwrap();
            fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, &ca).unwrap().pem()).unwrap();
            fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }

    fn client(dir: &Path, version: &'static rustls::SupportedProtocolVersion) -> TlsConnector {
        let certificate = |name: &str| CertificateDer::from_pem_file(dir.join(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).unwrap();
        let config = builder.with_client_auth_cert(vec![certificate("client.pem")], key).unwrap();
        TlsConnector::from(Arc::new(config))
    }

    /// A client that comes back needs no full handshake, and is still known by its names.
    #[tokio::test]
    async fn names_outlive_a_resumed_handshake() {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path());
        let file = |name: &str| dir.path().join(name);
        let files = ServerFiles {
            cert: file("server.pem"),
            key: file("server.key"),
            client_ca: Some(file("ca.pem")),
            client_san: None,
        };
        let server = TlsServer::open("grpc", files, &[]).unwrap();
        let lifecycle = Lifecycle::default();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = client(dir.path(), version);
            for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
                let (near, far) = tokio::io::duplex(64 << 10);
                let mut phases = lifecycle.phases();
                let name = ServerName::try_from("localhost").unwrap();
                let (ours, theirs) = tokio::join!(server.accept(near, &mut phases), client.connect(name, far));
                let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
                // The tickets come with the first bytes.
                ours.write_all(b"x").await.unwrap();
                ours.flush().await.unwrap();
                theirs.read_u8().await.unwrap();
                assert_eq!(theirs.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
                let PeerNames { uris, dns } = PeerNames::of(&ours);
                assert_eq!(uris, ["spiffe://cluster.local/ns/shop/sa/cart"], "{version:?}, {kind:?}");
                assert_eq!(dns, ["cart.example.org"], "{version:?}, {kind:?}");
            }
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert_eq!(PeerNames::read(b"no certificate"), PeerNames::default());
    }
}
