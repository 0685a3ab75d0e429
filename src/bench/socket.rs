//! Client sockets: TCP, with or without TLS, or unix, read and written independently.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use super::plan::Plan;
use crate::net::{Address, TlsClient};

/// The read half of a connection.
pub(super) type Reader = Box<dyn AsyncRead + Unpin>;

/// The write half of a connection.
#[derive(Debug)]
pub(super) enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl Writer {
    /// Writes as much as the kernel takes without waiting.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    /// Waits until the kernel takes more.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }
}

/// Opens a connection; a server that does not accept it within [`CONNECT_TIMEOUT`] is an error.
pub(super) async fn connect(plan: &Plan) -> io::Result<(Reader, Writer)> {
    let connecting = async {
        match &plan.target {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                if let Some(tls) = &plan.tls {
                    return encrypted(tls, stream).await.map(split);
                }
                let (reader, writer) = stream.into_split();
                Ok((Box::new(reader) as Reader, Writer::Tcp(writer)))
            }
            Address::Unix(path) => UnixStream::connect(path).await.map(split),
        }
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn split(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Box::new(reader), Writer::Unix(writer))
}

/// Makes the handshake. Returns a socket for plain text, which a task of this thread encrypts.
async fn encrypted(tls: &TlsClient, stream: TcpStream) -> io::Result<UnixStream> {
    let mut far = tls.connect(stream).await?;
    let (near, mut inner) = UnixStream::pair()?;
    tokio::spawn(async move {
        // When one side is closed, the reader of the other one notices.
        let _closed = copy_bidirectional_with_sizes(&mut inner, &mut far, COPIED_BYTES, COPIED_BYTES).await;
    });
    Ok(near)
}

/// As much as a reader takes at once.
const COPIED_BYTES: usize = 64 << 10;
/// A server on the same network answers within milliseconds, if it is there.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
