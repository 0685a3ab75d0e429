//! TLS of a client: what it trusts, who it is, and why a handshake fails.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pem::{self, PemFile};

/// The PEM files of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientFiles<'f> {
    /// The CAs to trust; none: those of the system.
    pub ca: Option<&'f Path>,
    /// The client's certificate with its chain, and the key for it.
    pub identity: Option<(&'f Path, &'f Path)>,
}

/// Makes TLS connections with HTTP/2 to one server.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
    words: Words,
}

/// Makes TLS connections to any server whose certificate is for its own host, with any protocol.
#[derive(Clone)]
pub(crate) struct TlsDialer {
    connector: TlsConnector,
    words: Words,
}

/// What the user of a client is to write, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// The flag with the CAs.
    pub ca: &'static str,
    /// The flag with the client's certificate.
    pub cert: &'static str,
    /// The scheme without TLS.
    pub plain: &'static str,
}

impl Words {
    /// Of commands with `--tls-ca`.
    const COMMAND: Self = Self { ca: "--tls-ca", cert: "--tls-cert", plain: "http://" };
}

impl TlsClient {
    /// A client of the server at `HOST:PORT`, whose certificate has to be for that host. Reads the files.
    ///
    /// # Errors
    /// Which file cannot be used and why, or that the host cannot be in a certificate.
    pub(crate) fn new(files: ClientFiles<'_>, address: &str) -> Result<Self, String> {
        Self::with_config(config(files, Words::COMMAND)?, address, Words::COMMAND)
    }

    /// The same, which trusts the CAs of the system, too, if it has some.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn trusting_system(files: ClientFiles<'_>, address: &str, words: Words) -> Result<Self, String> {
        let mut roots = match files.ca {
            Some(path) => PemFile::read(path)?.roots()?,
            None => return Self::with_config(config(files, words)?, address, words),
        };
        let (_, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::with_config(config_with(roots, files)?, address, words)
    }

    fn with_config(mut config: ClientConfig, address: &str, words: Words) -> Result<Self, String> {
        config.alpn_protocols = vec![H2.to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name: server_name(address)?, words })
    }

    /// Makes the handshake. The caller sets a time limit.
    ///
    /// # Errors
    /// Why it failed, in words for the user of a command.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connected = self.connector.connect(self.name.clone(), stream).await;
        let stream = connected.map_err(|error| failure(&error, self.words))?;
        match stream.get_ref().1.alpn_protocol() {
            Some(H2) => Ok(stream),
            _ => Err(io::Error::other("TLS: the server does not offer HTTP/2 (ALPN h2), so it is not a gRPC server")),
        }
    }
}

impl TlsDialer {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(crate) fn new(files: ClientFiles<'_>, words: Words) -> Result<Self, String> {
        Ok(Self { connector: TlsConnector::from(Arc::new(config(files, words)?)), words })
    }

    /// Makes the handshake with the server at `HOST:PORT`, whose certificate has to be for that host. The caller sets a time limit.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn connect(&self, stream: TcpStream, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = server_name(address).map_err(io::Error::other)?;
        self.connector.connect(name, stream).await.map_err(|error| failure(&error, self.words))
    }
}

impl fmt::Debug for TlsDialer {
    /// Without the configuration, which has the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDialer").finish_non_exhaustive()
    }
}

fn config(files: ClientFiles<'_>, words: Words) -> Result<ClientConfig, String> {
    let roots = match files.ca {
        Some(path) => PemFile::read(path)?.roots()?,
        None => roots_of_system(words)?,
    };
    config_with(roots, files)
}

fn config_with(roots: RootCertStore, files: ClientFiles<'_>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots);
    match files.identity {
        Some((cert, key)) => {
            let (chain, secret) = (PemFile::read(cert)?.certificates()?, PemFile::read(key)?.private_key()?);
            builder.with_client_auth_cert(chain, secret).map_err(|error| pem::mismatch(cert, key, &error))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

impl fmt::Debug for TlsClient {
    /// Without the configuration, which has the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an error of a connection says about TLS; none: it is of another kind.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(format!("TLS: {}", reason(error, Words::COMMAND)))
}

fn failure(error: &io::Error, words: Words) -> io::Error {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    let said = match error.kind() {
        UnexpectedEof | ConnectionReset | ConnectionAborted => {
            format!(
                "TLS: the server closed the connection in the handshake; for a port without TLS use {}",
                words.plain
            )
        }
        _ => match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            Some(error) => format!("TLS: {}", reason(error, words)),
            None => format!("TLS: {error}"),
        },
    };
    io::Error::other(said)
}

fn reason(error: &Error, Words { ca, cert, plain }: Words) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("the server's certificate {}", objection(error, ca)),
        Error::InvalidMessage(_) => {
            format!("the server does not answer with TLS; for a port without TLS use {plain}")
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("the server demands a client certificate ({cert}, {})", cert.replace("cert", "key"))
        }
        Error::AlertReceived(alert) => {
            format!("the server ended the handshake ({alert:?}); does it demand another client certificate ({cert})?")
        }
        error => error.to_string(),
    }
}

fn objection(error: &CertificateError, ca: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!("is signed by no trusted CA; {ca} names the CAs to trust"),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is for another host: {error}")
        }
        // As `openssl req -x509` makes it.
        error if error.to_string().contains("CaUsedAsEndEntity") => {
            "is that of a CA, which no server may show: sign one with CA:FALSE for the server".to_owned()
        }
        error => format!("cannot be used: {error}"),
    }
}

fn roots_of_system(words: Words) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(format!("this system has no CA certificates: name the CAs to trust with {}", words.ca));
    }
    Ok(roots)
}

fn server_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no host name that a certificate can be for"))
}

const H2: &[u8] = b"h2";
