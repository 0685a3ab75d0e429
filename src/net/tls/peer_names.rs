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
