//! TLS of the ports.

use std::io;
use std::sync::Arc;

use crate::net::{self, TlsError, TlsServer};
use crate::runtime::threads::Worker;
use crate::settings::TlsSettings;

/// TLS of the ports that have it.
#[derive(Clone, Debug)]
pub(super) struct Tls(Vec<Arc<TlsServer>>);

impl Tls {
    /// Reads the files of each port.
    pub(super) fn open(settings: &TlsSettings) -> Result<Self, TlsError> {
        let open = |(port, files)| {
            // The gRPC port has nothing but HTTP/2.
            let alpn: &[&[u8]] = if port == "grpc" { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
            TlsServer::open(port, files, alpn).map(Arc::new)
        };
        settings.files().into_iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// TLS of a port; `None`: plain text.
    pub(super) fn of(&self, port: &str) -> Option<Arc<TlsServer>> {
        self.0.iter().find(|server| server.port() == port).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<TlsServer>] {
        &self.0
    }

    /// Reads the files again when they change; `None`: there are none.
    pub(super) fn watch(&self) -> io::Result<Option<Worker>> {
        if self.0.is_empty() { Ok(None) } else { net::watch(self.0.clone()).map(Some) }
    }
}
