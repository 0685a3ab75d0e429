//! TLS of a port: its certificate, which clients it accepts, and what happens when the files change.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::PeerNames;
use super::pem::{self, PemFile};
use crate::net::opening::too_late;
use crate::runtime::OnceAMinute;
use crate::runtime::lifecycle::Phases;
use crate::runtime::small_files::{self, ContentDigest, Reloaded};
use crate::runtime::threads::Worker;

/// The PEM files of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFiles {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// The key for it.
    pub key: PathBuf,
    /// The CAs of clients, which then need a certificate; `None`: any client may connect.
    pub client_ca: Option<PathBuf>,
    /// A name that the certificates of clients need; `None`: any.
    pub client_san: Option<String>,
}

/// TLS of one port.
#[derive(Debug)]
pub(crate) struct TlsServer {
    /// The port's name: `grpc`, `http`, `admin`.
    port: &'static str,
    files: ServerFiles,
    alpn: Vec<Vec<u8>>,
    loaded: Reloaded<Loaded>,
    failed: AtomicU64,
    said: OnceAMinute,
    /// Handshakes at the same time.
    handshakes: Semaphore,
}

/// What the files make.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// When the certificate expires, in seconds since the epoch.
    expires: i64,
}

/// The files, read once for all that is made of them.
struct Contents<'f> {
    cert: PemFile<'f>,
    key: PemFile<'f>,
    client_ca: Option<PemFile<'f>>,
}

/// Why a port has no TLS.
#[derive(Debug, thiserror::Error)]
#[error("TLS of the {port} port (--{port}-tls-cert, --{port}-tls-key): {what}")]
pub(crate) struct TlsError {
    port: &'static str,
    what: String,
}

impl TlsServer {
    /// Reads the files. `alpn`: the protocols of the port.
    ///
    /// # Errors
    /// Which file cannot be used, why, and what to do.
    pub(crate) fn open(port: &'static str, files: ServerFiles, alpn: &[&[u8]]) -> Result<Self, TlsError> {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let read = files.read().and_then(|(digest, contents)| Ok(Reloaded::new(digest, files.load(&contents, &alpn)?)));
        let loaded = read.map_err(|what| TlsError { port, what })?;
        if let Ok(metadata) = fs::metadata(&files.key)
            && metadata.permissions().mode() & 0o004 != 0
        {
            tracing::warn!(path = %files.key.display(), "every user of this machine can read the key: chmod o-r");
        }
        Ok(Self {
            port,
            files,
            alpn,
            loaded,
            failed: AtomicU64::new(0),
            said: OnceAMinute::default(),
            handshakes: Semaphore::new(MAX_HANDSHAKES),
        })
    }

    /// Makes the handshake; `None`: it failed, which has been counted. Connections that exist keep the certificate that they began with.
    pub(crate) async fn accept<S>(&self, stream: S, phases: &mut Phases) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaking = async {
            let _permit = self.handshakes.acquire().await.map_err(io::Error::other)?;
            let stream = TlsAcceptor::from(Arc::clone(&self.loaded.current().config)).accept(stream).await?;
            match &self.files.client_san {
                Some(name) if !PeerNames::of(&stream).have(name) => {
                    Err(io::Error::other("the client's certificate does not have the name of --grpc-tls-client-san"))
                }
                _ => Ok(stream),
            }
        };
        let outcome = tokio::select! {
            shaken = tokio::time::timeout(DEADLINE, shaking) => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            () = too_late(phases) => return None,
        };
        outcome.map_err(|error| self.note(&error)).ok()
    }

    /// Counts a failed handshake, and logs one a minute.
    fn note(&self, error: &io::Error) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.said.may_say() {
            let port = self.port;
            tracing::warn!(port, failed, %error, "TLS handshake failed; is the client's text plain, or its certificate of another CA?");
        }
    }

    /// Reads the files again. Files that cannot be used leave those before in force, with one line in the log.
    pub(crate) fn refresh(&self) {
        let port = self.port;
        match self.loaded.refresh(self.files.read(), |contents| self.files.load(&contents, &self.alpn)) {
            None => {}
            Some(Ok(_)) => tracing::info!(port, "TLS files loaded; connections that exist keep the certificate before"),
            Some(Err(error)) => {
                tracing::error!(port, error, "the TLS files cannot be used; those before are in force");
            }
        }
    }

    /// The port's name.
    pub(crate) fn port(&self) -> &'static str {
        self.port
    }

    /// When the certificate expires, in seconds since the epoch.
    pub(crate) fn expires(&self) -> i64 {
        self.loaded.current().expires
    }

    /// Whether the files cannot be used since their last change.
    pub(crate) fn is_outdated(&self) -> bool {
        self.loaded.is_outdated()
    }

    /// Handshakes that failed since the start.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Reads the files of all ports again when they change, until the [`Worker`] is dropped.
///
/// # Errors
/// The system cannot start another thread.
pub(crate) fn watch(servers: Vec<Arc<TlsServer>>) -> io::Result<Worker> {
    small_files::watch("tidegate-tls", move || servers.iter().for_each(|server| server.refresh()))
}

impl ServerFiles {
    fn read(&self) -> Result<(ContentDigest, Contents<'_>), String> {
        let contents = Contents {
            cert: PemFile::read(&self.cert)?,
            key: PemFile::read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(PemFile::read).transpose()?,
        };
        let files = [Some(&contents.cert), Some(&contents.key), contents.client_ca.as_ref()];
        let digest = small_files::digest(files.into_iter().flatten().map(PemFile::bytes));
        Ok((digest, contents))
    }

    /// What they make.
    fn load(&self, contents: &Contents<'_>, alpn: &[Vec<u8>]) -> Result<Loaded, String> {
        let Contents { cert, key, client_ca } = contents;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match client_ca {
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()?), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| ca.describe(&error.to_string()))?)
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, secret) = (cert.certificates()?, key.private_key()?);
        let expires = chain
            .first()
            .and_then(|first| expiry(first))
            .ok_or_else(|| cert.describe("begins with a certificate that cannot be read"))?;
        let config = builder.with_single_cert(chain, secret);
        let mut config = config.map_err(|error| pem::mismatch(&self.cert, &self.key, &error))?;
        config.alpn_protocols = alpn.to_vec();
        // Clients resume without a full handshake; a new configuration makes them begin again.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Loaded { config: Arc::new(config), expires })
    }
}

/// Loads what these files contain. Returns when the certificate expires, in seconds since the epoch.
///
/// # Errors
/// Which file cannot be used, and why.
pub(crate) fn check_pem(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<i64, String> {
    let path = |name: &str| PathBuf::from(name);
    let files = ServerFiles {
        cert: path("cert"),
        key: path("key"),
        client_ca: client_ca.map(|_| path("client_ca")),
        client_san: None,
    };
    let contents = Contents {
        cert: PemFile::with_content(&files.cert, cert),
        key: PemFile::with_content(&files.key, key),
        client_ca: files.client_ca.as_deref().zip(client_ca).map(|(path, ca)| PemFile::with_content(path, ca)),
    };
    files.load(&contents, &[]).map(|loaded| loaded.expires)
}

/// The end of the certificate's validity, in seconds since the epoch.
fn expiry(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The time for a handshake.
const DEADLINE: Duration = Duration::from_secs(10);
/// Handshakes of a port at the same time: each takes some kilobytes, and up to a millisecond of CPU.
const MAX_HANDSHAKES: usize = 1_024;
