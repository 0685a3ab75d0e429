//! Ports that stay free.

use std::net::SocketAddr;

use socket2::{Domain, SockAddr, Socket, Type};

/// A port of 127.0.0.1 that nobody else is given: connections are refused. A server that is given its number can still listen on it,
/// by SO_REUSEPORT.
pub(crate) struct ReservedPort {
    pub(crate) port: u16,
    _socket: Socket,
}

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&SockAddr::from(loopback)).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { port, _socket: socket }
    }
}
