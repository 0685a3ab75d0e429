//! A connection to the control plane: TCP with a keepalive, and TLS if the URL asks for it. Files are read for each connection.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

use crate::net::{ClientFiles, TlsClient, Words};

/// Where a control plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// HOST:PORT.
    address: String,
    /// With TLS.
    tls: Option<ServerFiles>,
}

/// The PEM files of a connection with TLS, and the name in the server's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerFiles {
    /// CAs to trust besides those of the system.
    pub ca: Option<PathBuf>,
    /// The client's certificate with its chain.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate has to be for, if not the host of the URL.
    pub name: Option<String>,
}

impl FromStr for Server {
    type Err = String;

    /// `http://HOST:PORT`, or `https://HOST:PORT` for TLS.
    fn from_str(url: &str) -> Result<Self, String> {
        let (address, tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(address), _) => (address, None),
            (_, Some(address)) => (address, Some(ServerFiles::default())),
            _ => return Err("expected http://HOST:PORT, or https://HOST:PORT for TLS".to_owned()),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = address.rsplit_once(':').ok_or("the port is missing: http://HOST:PORT")?;
        let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
        if !is_host || port.parse::<u16>().is_err() || Uri::from_str(url).is_err() {
            return Err("expected HOST:PORT after http:// or https://, and nothing more".to_owned());
        }
        Ok(Self { address: address.to_owned(), tls })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl Server {
    /// The same with these files. False: the URL is one without TLS, and they would have no effect.
    pub(crate) fn set_files(&mut self, files: ServerFiles) -> bool {
        let has_effect = self.tls.is_some() || files == ServerFiles::default();
        self.tls = self.tls.as_ref().map(|_| files);
        has_effect
    }

    /// Whether the files can be used.
    ///
    /// # Errors
    /// Which one cannot, and why.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.tls_client().map(drop)
    }

    /// Connects, within [`CONNECTING`].
    pub(super) async fn connect(&self) -> Result<Channel, String> {
        let dial = Dial { address: self.address.clone(), tls: self.tls_client()? };
        let endpoint = Endpoint::from_shared(self.to_string()).map_err(|error| error.to_string())?;
        // Adaptive windows would send pings.
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let connecting = endpoint.connect_with_connector(dial);
        match tokio::time::timeout(CONNECTING, connecting).await {
            Ok(channel) => channel.map_err(|error| causes(&error)),
            Err(_) => Err(format!("no connection within {CONNECTING:?}")),
        }
    }

    fn tls_client(&self) -> Result<Option<TlsClient>, String> {
        let Some(files) = &self.tls else { return Ok(None) };
        let name = files.name.as_deref().unwrap_or(&self.address);
        let identity = files.cert.as_deref().zip(files.key.as_deref());
        let files = ClientFiles { ca: files.ca.as_deref(), identity };
        TlsClient::trusting_system(files, name, WORDS).map(Some)
    }
}

/// What went wrong, without the words around it that are the same for every connection.
fn causes(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// Opens connections for a channel.
#[derive(Clone)]
struct Dial {
    address: String,
    tls: Option<TlsClient>,
}

/// A connection with or without TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Dial {
    async fn connect(self) -> io::Result<TokioIo<Box<dyn Io>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4).with_retries(4);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(KEEPALIVE * 2))?;
        let stream: Box<dyn Io> = match self.tls {
            Some(tls) => Box::new(tls.connect(stream).await?),
            None => Box::new(stream),
        };
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

const WORDS: Words = Words { ca: "--xds-ca", cert: "--xds-cert", plain: "http://" };
/// For the name, the connection and the handshake.
const CONNECTING: Duration = Duration::from_secs(10);
/// A peer that is gone is noticed after one to two of them.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// Sets may be large.
const WINDOW_BYTES: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, is_valid) in [
            ("http://gateway:18001", true),
            ("https://gateway.system.svc:18001/", true),
            ("http://127.0.0.1:1", true),
            ("https://[::1]:18001", true),
            ("gateway:18001", false),
            ("http://gateway", false),
            ("http://:18001", false),
            ("http://gateway:x", false),
            ("http://user:pass@gateway:18001", false),
            ("http://gateway:18001/path", false),
            ("grpc://gateway:18001", false),
        ] {
            assert_eq!(url.parse::<Server>().is_ok(), is_valid, "{url}");
        }
        let server: Server = "https://gateway:18001/".parse().unwrap();
        assert_eq!(server.to_string(), "https://gateway:18001");
    }

    #[test]
    fn files_need_tls() {
        let files = ServerFiles { ca: Some("ca.pem".into()), ..ServerFiles::default() };
        let mut plain: Server = "http://gateway:18001".parse().unwrap();
        assert!(!plain.set_files(files.clone()) && plain.set_files(ServerFiles::default()));
        let mut server: Server = "https://gateway:18001".parse().unwrap();
        assert!(server.set_files(files));
        assert!(server.check().unwrap_err().contains("ca.pem"), "{:?}", server.check());
    }
}
