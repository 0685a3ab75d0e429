//! Sockets, the same for every port: addresses, listeners, the limit on connections, and detection of HTTP/1 or HTTP/2.

mod accept;
mod address;
mod bind;
mod closed;
mod frames;
mod http2;
mod http_server;
mod in_flight;
mod incomplete;
mod metered;
mod opening;
mod passing;
mod probation;
mod slots;
mod tls;

pub(crate) use accept::{Acceptor, Peer};
pub(crate) use address::Address;
pub(crate) use bind::{BindError, Bound, Socket, bind};
pub(crate) use closed::Closed;
pub(crate) use http_server::{PeerAddress, Server};
pub(crate) use http2::{FrontEnd, PING_INTERVAL, PING_TIMEOUT, h2_builder, http2_builder, is_flood, lean_limits};
pub(crate) use incomplete::{MAX_MESSAGE_BYTES, PartialBytes, Share};
pub(crate) use metered::Metered;
pub(crate) use opening::{Opened, Protocol, open_while_serving, tls_on_plain_ports};
pub(crate) use passing::{pass, receive};
pub(crate) use slots::{ConnectionLimit, FEW_STREAMS, Slot, Turn};
pub(crate) use tls::{
    ClientFiles, PeerNames, ServerFiles, TlsClient, TlsDialer, TlsError, TlsServer, Words, check_pem, explain, watch,
};
