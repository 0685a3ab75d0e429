//! Listening sockets.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::Address;

/// One listening socket, non-blocking.
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// The sockets bound to one address.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The actual address, with its port.
    pub address: Address,
    /// One socket for each worker.
    pub sockets: Vec<Socket>,
    /// Removes the file of a unix socket when dropped.
    file: Option<SocketFile>,
}

impl Socket {
    /// A socket that another process has bound.
    ///
    /// # Errors
    /// It does not listen, or is neither TCP nor a unix socket.
    pub(crate) fn listening(socket: OwnedFd) -> io::Result<Self> {
        let raw = RawSocket::from(socket);
        if !raw.is_listener()? {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a listening socket"));
        }
        raw.set_nonblocking(true)?;
        let address = raw.local_addr()?;
        match address.domain() {
            Domain::IPV4 | Domain::IPV6 => Ok(Self::Tcp(raw.into())),
            Domain::UNIX => Ok(Self::Unix(raw.into())),
            _ => Err(io::Error::new(ErrorKind::Unsupported, "neither TCP nor a unix socket")),
        }
    }

    /// The same socket once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// Whether it has this address; with port 0 any port will do.
    pub(crate) fn is_at(&self, wanted: &Address) -> bool {
        self.address().is_ok_and(|address| fits(wanted, &address))
    }

    /// Whether this address may be in use because of it: another one with the same port may be.
    pub(crate) fn blocks(&self, wanted: &Address) -> bool {
        match (self.address(), wanted) {
            (Ok(Address::Tcp(own)), Address::Tcp(wanted)) => port_of(&own) == port_of(wanted),
            (own, wanted) => own.is_ok_and(|own| own == *wanted),
        }
    }

    fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| Address::Tcp(address.to_string())),
            Self::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
                path.map(Address::Unix)
                    .ok_or_else(|| io::Error::new(ErrorKind::Unsupported, "a unix socket without a path"))
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Bound {
    /// Sockets that another process has bound, as `count` of them: some are used more than once if they are fewer. `None`: there is none, or
    /// they have another address than `wanted`.
    ///
    /// # Errors
    /// The system has no further file descriptor.
    pub(crate) fn inherited(sockets: Vec<Socket>, wanted: Option<&Address>, count: usize) -> io::Result<Option<Self>> {
        let Some(first) = sockets.first() else { return Ok(None) };
        let address = first.address()?;
        if wanted.is_some_and(|wanted| !fits(wanted, &address)) {
            return Ok(None);
        }
        let given = sockets.len();
        let mut all = sockets;
        for nth in given..count.max(given) {
            let again = all.get(nth % given).map(Socket::try_clone).transpose()?;
            all.extend(again);
        }
        Ok(Some(Self { address, sockets: all, file: None }))
    }

    /// The file of a unix socket is removed at the end, as if this process had made it.
    #[must_use]
    pub(crate) fn owning_its_file(mut self) -> Self {
        if let Address::Unix(path) = &self.address {
            self.file = Some(SocketFile(path.clone()));
        }
        self
    }

    /// The sockets, and a guard that must live as long as they are served.
    pub(crate) fn into_parts(self) -> (Vec<Socket>, impl Send + use<>) {
        (self.sockets, self.file)
    }
}

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({flag}): {cause}")]
pub(crate) struct BindError {
    /// The address as it was given.
    pub address: Address,
    /// The flag that gave it.
    pub flag: &'static str,
    /// The error of the system.
    pub cause: io::Error,
}

/// Binds `count` sockets to one address; the kernel distributes new connections over them (SO_REUSEPORT).
///
/// With port 0 the first socket chooses the port. A unix socket has one listener, whatever `count` says.
///
/// # Errors
/// The address is in use, not local, or cannot be resolved; for a unix socket also if the path is another kind of file.
pub(crate) fn bind(address: &Address, count: usize, flag: &'static str) -> Result<Bound, BindError> {
    let bound = match address {
        Address::Tcp(name) => bind_tcp(name, count),
        Address::Unix(path) => bind_unix(path),
    };
    bound.map_err(|cause| BindError { address: address.clone(), flag, cause })
}

fn bind_tcp(name: &str, count: usize) -> io::Result<Bound> {
    let wanted = name.to_socket_addrs()?.next().ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
    let shared = count > 1;
    if shared && wanted.port() != 0 {
        // Without this check, the sockets would silently share the port with another process of this user.
        drop(tcp_socket(wanted, false)?);
    }
    let first = tcp_socket(wanted, shared)?;
    let address = first.local_addr()?;
    let mut sockets = vec![Socket::Tcp(first)];
    for _ in 1..count {
        sockets.push(Socket::Tcp(tcp_socket(address, true)?));
    }
    Ok(Bound { address: Address::Tcp(address.to_string()), sockets, file: None })
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let file = Some(SocketFile(path.to_owned()));
    Ok(Bound { address: Address::Unix(path.to_owned()), sockets: vec![Socket::Unix(listener)], file })
}

/// Whether a bound address is the one that is wanted; with port 0 any port is.
fn fits(wanted: &Address, bound: &Address) -> bool {
    match (wanted, bound) {
        (Address::Tcp(name), Address::Tcp(bound)) => {
            let resolved = name.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
            let bound = bound.parse::<SocketAddr>().ok();
            resolved.zip(bound).is_some_and(|(wanted, bound)| {
                wanted.ip() == bound.ip() && (wanted.port() == 0 || wanted.port() == bound.port())
            })
        }
        (wanted, bound) => wanted == bound,
    }
}

fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// Removes the socket file of a killed process. A socket in use, or a file that is not a socket, is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?.file_type(),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the path is a file that is not a socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another process serves this socket")),
    }
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // After a hand-over another process serves it.
        if UnixStream::connect(&self.0).is_ok() {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "socket file was not removed");
        }
    }
}

/// Connections that wait to be accepted: all clients may reconnect at once. The kernel caps this (net.core.somaxconn).
pub(super) const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.to_owned())
    }

    #[test]
    fn sockets_share_the_port_that_the_first_one_got() {
        let bound = bind(&tcp("127.0.0.1:0"), 3, "--grpc-addr").unwrap();
        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            let Socket::Tcp(listener) = socket else { panic!("{socket:?}") };
            assert_eq!(listener.local_addr().unwrap().to_string(), bound.address.to_string());
        }
    }

    #[test]
    fn a_taken_port_is_rejected_however_it_is_shared() {
        for (theirs, ours) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let taken = bind(&tcp("127.0.0.1:0"), theirs, "--grpc-addr").unwrap();
            let error = bind(&taken.address, ours, "--grpc-addr").unwrap_err();
            assert_eq!(error.cause.kind(), ErrorKind::AddrInUse, "{theirs} {ours}");
            assert!(error.to_string().starts_with(&format!("cannot listen on {} (--grpc-addr): ", taken.address)));
        }
    }

    #[test]
    fn unix_sockets_stale_live_and_not_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.sock");
        let address = Address::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind(&address, 4, "--grpc-addr").unwrap();
        assert_eq!(bound.sockets.len(), 1);
        assert_eq!(bind(&address, 1, "--grpc-addr").unwrap_err().cause.kind(), ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&address, 1, "--grpc-addr").unwrap_err().cause.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
