//! Client sockets: TCP or unix, read and written independently.

use std::io;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::net::Address;

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
pub(super) async fn connect(address: &Address) -> io::Result<(Reader, Writer)> {
    let connecting = async {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                Ok((Box::new(reader) as Reader, Writer::Tcp(writer)))
            }
            Address::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                Ok((Box::new(reader) as Reader, Writer::Unix(writer)))
            }
        }
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A server on the same network answers within milliseconds, if it is there.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
