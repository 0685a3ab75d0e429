//! Sockets, the same for every port: addresses, listeners, bounded connections, and the HTTP version of a peer.

mod accept;
mod address;
mod bind;
mod http2;
mod http_server;
mod incomplete;
mod opening;

pub use accept::{Acceptor, ConnectionLimit, Peer};
pub use address::Address;
pub use bind::{BindError, Bound, Socket, bind};
pub use http_server::Server;
pub use http2::{PING_INTERVAL, PING_TIMEOUT, h2_builder, http2_builder};
pub use incomplete::{MAX_MESSAGE_BYTES, PartialBytes};
pub use opening::{Opened, OpeningError, Protocol, open};
