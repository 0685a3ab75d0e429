//! The connection of a command to a gRPC port, with or without TLS.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use clap::Args;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

use super::target::{Port, Target};
use crate::net::{ClientFiles, TlsClient};

/// What a command trusts and who it is, on a port with TLS.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_field_names, reason = "the names are those of the flags")]
pub(super) struct TlsFlags {
    /// File with the CA certificates to trust for https:// (PEM) [default: those of the system]
    #[arg(long, env = "TIDEGATE_TLS_CA", value_name = "PATH")]
    tls_ca: Option<PathBuf>,

    /// File with the client certificate to show for https://, and its chain (PEM)
    #[arg(long, env = "TIDEGATE_TLS_CERT", value_name = "PATH", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// File with the private key of --tls-cert (PEM, not encrypted)
    #[arg(long, env = "TIDEGATE_TLS_KEY", value_name = "PATH", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl TlsFlags {
    /// Connects to the target. The caller sets a time limit.
    ///
    /// # Errors
    /// One sentence for the user: a flag or file that cannot be used, or why there is no connection.
    pub(super) async fn connect(
        &self,
        port: Port,
        target: &Target,
        prepare: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Result<Channel, String> {
        let dial = self.client(target)?.zip(target.tls_address());
        let dial = dial.map(|(tls, address)| Dial { address: address.to_owned(), tls });
        let endpoint = Endpoint::from_shared(target.url()).map_err(|error| format!("{target}: {error}"))?;
        let endpoint = prepare(endpoint);
        let channel = match dial {
            Some(dial) => endpoint.connect_with_connector(dial).await,
            None => endpoint.connect().await,
        };
        channel.map_err(|error| port.describe(target, "cannot connect", &error))
    }

    /// Makes TLS connections to the target; `None` for a target without TLS.
    ///
    /// # Errors
    /// A flag or file that cannot be used.
    pub(super) fn client(&self, target: &Target) -> Result<Option<TlsClient>, String> {
        let Some(address) = target.tls_address() else {
            // A user who names a CA expects that nothing is sent in plain text.
            let unused = self.tls_ca.is_some() || self.tls_cert.is_some();
            return if unused {
                Err(format!("{target}: --tls-ca and --tls-cert apply only to https://"))
            } else {
                Ok(None)
            };
        };
        let identity = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        TlsClient::new(ClientFiles { ca: self.tls_ca.as_deref(), identity }, address).map(Some)
    }
}

/// Opens TLS connections for a channel.
#[derive(Clone, Debug)]
struct Dial {
    address: String,
    tls: TlsClient,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, tls } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            tls.connect(stream).await.map(TokioIo::new)
        })
    }
}
