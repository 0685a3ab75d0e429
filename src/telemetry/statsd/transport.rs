//! The way to a statsd: datagrams, or a connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;

use crate::settings::{StatsdProtocol, StatsdUrl};

/// The way to a statsd. It is opened when something is sent, and stays open while that succeeds.
#[derive(Debug)]
pub(super) struct Transport {
    address: String,
    protocol: StatsdProtocol,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream),
}

impl Transport {
    pub(super) fn new(url: &StatsdUrl) -> Self {
        Self { address: url.address.clone(), protocol: url.protocol, open: None }
    }

    /// Sends lines in order. Returns how many of them were sent as a whole, and why not all of them. Waits for at most [`CONNECT`] and, per
    /// [`TCP_BYTES`], [`WRITE`].
    ///
    /// Of datagrams nobody knows who received them: they are sent unless the system says that there is nobody.
    pub(super) fn send<'l>(&mut self, lines: impl Iterator<Item = &'l str>) -> (usize, io::Result<()>) {
        let outcome = self.open().map(|open| match open {
            Open::Udp(socket, _) => packed(lines, UDP_BYTES, |datagram| match socket.send(datagram) {
                Ok(bytes) => (bytes, Ok(())),
                // No datagram has room for this line, now or later.
                Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => (datagram.len(), Ok(())),
                Err(error) => (0, Err(error)),
            }),
            Open::Tcp(stream) => packed(lines, TCP_BYTES, |bytes| write(stream, bytes)),
        });
        let (sent, outcome) = outcome.unwrap_or_else(|error| (0, Err(error)));
        if outcome.is_err() {
            self.open = None;
        }
        (sent, outcome)
    }

    fn open(&mut self) -> io::Result<&mut Open> {
        let open = match (self.protocol, self.open.take()) {
            (StatsdProtocol::Udp, before) => udp(self.addresses()?, before)?,
            (StatsdProtocol::Tcp, Some(Open::Tcp(stream))) if is_connected(&stream) => Open::Tcp(stream),
            (StatsdProtocol::Tcp, _) => Open::Tcp(tcp(self.addresses()?)?),
        };
        Ok(self.open.insert(open))
    }

    /// Looked up each time, so that a name may move.
    fn addresses(&self) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        self.address.to_socket_addrs()
    }
}

/// The same socket as before if the address is the same: the system says on the next datagram that nobody received the last one.
fn udp(mut addresses: impl Iterator<Item = SocketAddr>, before: Option<Open>) -> io::Result<Open> {
    let address = addresses.next().ok_or(ErrorKind::NotFound)?;
    match before {
        Some(Open::Udp(socket, known)) if known == address => Ok(Open::Udp(socket, known)),
        _ => {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(Open::Udp(socket, address))
        }
    }
}

/// The first address that answers.
fn tcp(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut failure = ErrorKind::NotFound.into();
    for address in addresses.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_write_timeout(Some(WRITE))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Whether the other end has not closed. It has nothing to say, so that what it says is not read on.
fn is_connected(mut stream: &TcpStream) -> bool {
    let peek = |stream: &mut &TcpStream| {
        stream.set_nonblocking(true)?;
        let read = stream.read(&mut [0; 1024]);
        stream.set_nonblocking(false)?;
        read
    };
    match peek(&mut stream) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Writes bytes, and says how many.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest @ [_, ..]) = bytes.get(written..) {
        match stream.write(rest) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(more) => written = written.saturating_add(more),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Puts as many lines together as there is room for, and sends them by `send`, which says how many bytes it could. Returns how many lines were sent as a
/// whole.
fn packed<'l>(
    lines: impl Iterator<Item = &'l str>,
    room: usize,
    mut send: impl FnMut(&[u8]) -> (usize, io::Result<()>),
) -> (usize, io::Result<()>) {
    let (mut lines_sent, mut pack, mut ends) = (0_usize, String::new(), Vec::new());
    let mut flush = |pack: &mut String, ends: &mut Vec<usize>| {
        let (bytes, outcome) = if pack.is_empty() { (0, Ok(())) } else { send(pack.as_bytes()) };
        let whole = if outcome.is_ok() { ends.len() } else { ends.iter().filter(|end| **end <= bytes).count() };
        pack.clear();
        ends.clear();
        (whole, outcome)
    };
    for line in lines {
        if pack.len().saturating_add(line.len()) > room {
            let (whole, outcome) = flush(&mut pack, &mut ends);
            lines_sent = lines_sent.saturating_add(whole);
            if outcome.is_err() {
                return (lines_sent, outcome);
            }
        }
        pack.push_str(line);
        ends.push(pack.len());
    }
    let (whole, outcome) = flush(&mut pack, &mut ends);
    (lines_sent.saturating_add(whole), outcome)
}

/// No datagram of that length is split on the usual networks: 1,500 bytes less the headers of IPv6, UDP and a tunnel.
const UDP_BYTES: usize = 1_432;
/// What is written at once.
const TCP_BYTES: usize = 64 << 10;
/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_millis(1_500);
/// Time for the other end to take what is written.
const WRITE: Duration = Duration::from_secs(1);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_packed_and_those_sent_as_a_whole_are_counted() {
        // The lines, the room, and how many bytes can be sent at all; the packs, and how many lines were sent.
        for (lines, room, all, packs, expected) in [
            ("aa bb cc", 6, 99, "aa.bb. cc.", 3),
            ("aa bb cc", 5, 99, "aa. bb. cc.", 3),
            ("aa bb cc", 99, 99, "aa.bb.cc.", 3),
            ("long b", 3, 99, "long. b.", 2),
            ("", 9, 99, "", 0),
            ("aa bb cc", 6, 5, "aa.bb.", 1),
            ("aa bb cc", 99, 7, "aa.bb.cc.", 2),
            ("aa bb cc", 6, 6, "aa.bb. cc.", 2),
        ] {
            let lines: Vec<_> = lines.split_whitespace().map(|line| format!("{line}.")).collect();
            let (mut left, mut seen) = (all, Vec::new());
            let (sent, outcome) = packed(lines.iter().map(|line| &**line), room, |pack| {
                seen.push(String::from_utf8(pack.to_vec()).unwrap());
                let bytes = pack.len().min(left);
                left -= bytes;
                (bytes, if bytes == pack.len() { Ok(()) } else { Err(ErrorKind::TimedOut.into()) })
            });
            assert_eq!((seen.join(" "), sent), (packs.to_owned(), expected), "{lines:?}");
            assert_eq!(outcome.is_ok(), sent == lines.len());
        }
    }
}
