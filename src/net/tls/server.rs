//! TLS of a port: its certificate, which clients it accepts, and what happens when the files change.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pem;
use crate::net::once_a_minute::OnceAMinute;
use crate::runtime::lifecycle::Phases;
use crate::runtime::threads::{Wait, Worker};

/// The PEM files of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerFiles {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// The key for it.
    pub key: PathBuf,
    /// The CAs of clients, which then need a certificate; `None`: any client may connect.
    pub client_ca: Option<PathBuf>,
}

/// TLS of one port.
#[derive(Debug)]
pub(crate) struct TlsServer {
    /// The port's name: `grpc`, `http`, `admin`.
    port: &'static str,
    files: ServerFiles,
    alpn: Vec<Vec<u8>>,
    config: ArcSwap<ServerConfig>,
    /// The digest of the files that were read last, whether or not they are in force.
    seen: Mutex<[u8; 32]>,
    /// When the certificate expires, in seconds since the epoch.
    expires: AtomicI64,
    outdated: AtomicBool,
    failed: AtomicU64,
    said: OnceAMinute,
    /// Handshakes at the same time.
    handshakes: Semaphore,
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
        let read = files.read().and_then(|digest| Ok((digest, files.config(&alpn)?)));
        let (digest, (config, expires)) = read.map_err(|what| TlsError { port, what })?;
        if let Ok(metadata) = fs::metadata(&files.key)
            && metadata.permissions().mode() & 0o004 != 0
        {
            tracing::warn!(path = %files.key.display(), "every user of this machine can read the key: chmod o-r");
        }
        Ok(Self {
            port,
            files,
            alpn,
            config: ArcSwap::from_pointee(config),
            seen: Mutex::new(digest),
            expires: AtomicI64::new(expires),
            outdated: AtomicBool::new(false),
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
            TlsAcceptor::from(self.config.load_full()).accept(stream).await
        };
        let stopping = async {
            phases.stopping().await;
            tokio::time::sleep(STOPPING_DEADLINE).await;
        };
        let outcome = tokio::select! {
            shaken = tokio::time::timeout(DEADLINE, shaking) => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            () = stopping => return None,
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
        let mut seen = self.seen.lock();
        let read = self.files.read();
        // What cannot be read is another state, too.
        let digest = read.clone().unwrap_or_default();
        if digest == *seen {
            return;
        }
        *seen = digest;
        let port = self.port;
        match read.and_then(|_| self.files.config(&self.alpn)) {
            Ok((config, expires)) => {
                self.config.store(Arc::new(config));
                self.expires.store(expires, Ordering::Relaxed);
                self.outdated.store(false, Ordering::Relaxed);
                tracing::info!(port, "TLS files loaded; connections that exist keep the certificate before");
            }
            Err(error) => {
                self.outdated.store(true, Ordering::Relaxed);
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
        self.expires.load(Ordering::Relaxed)
    }

    /// Whether the files cannot be used since their last change.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
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
    Worker::spawn("tidegate-tls", move |stop| {
        while stop.wait(POLL) == Wait::Elapsed {
            for server in &servers {
                server.refresh();
            }
        }
    })
}

impl ServerFiles {
    /// The digest of all files. They are small, and their links may be swapped in any way, as those of a Kubernetes Secret are: so their
    /// content is compared.
    fn read(&self) -> Result<[u8; 32], String> {
        let mut digest = Sha256::new();
        for path in [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten() {
            let bytes = pem::read(path)?;
            digest.update(bytes.len().to_le_bytes());
            digest.update(&bytes);
        }
        Ok(digest.finalize().into())
    }

    /// The configuration that they make, and when the certificate expires.
    fn config(&self, alpn: &[Vec<u8>]) -> Result<(ServerConfig, i64), String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match &self.client_ca {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in pem::certificates(path)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| pem::describe(path, &format!("has a CA that cannot be used: {error}")))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| pem::describe(path, &error.to_string()))?)
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = (pem::certificates(&self.cert)?, pem::private_key(&self.key)?);
        let expires = chain
            .first()
            .and_then(|first| expiry(first))
            .ok_or_else(|| pem::describe(&self.cert, "begins with a certificate that cannot be read"))?;
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| pem::mismatch(&self.cert, &self.key, &error))?;
        config.alpn_protocols = alpn.to_vec();
        // Clients resume without a full handshake; a new configuration makes them begin again.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string())?;
        Ok((config, expires))
    }
}

/// The end of the certificate's validity, in seconds since the epoch.
fn expiry(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The time for a handshake.
const DEADLINE: Duration = Duration::from_secs(10);
/// The same, once the process stops.
const STOPPING_DEADLINE: Duration = Duration::from_millis(500);
/// Handshakes of a port at the same time: each takes some kilobytes, and up to a millisecond of CPU.
const MAX_HANDSHAKES: usize = 1_024;
/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(1);
