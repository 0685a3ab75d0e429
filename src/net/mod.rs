//! Sockets, the same for every port: addresses, listeners, bounded connections, and which HTTP a peer speaks.

mod accept;
mod address;
mod bind;
mod http2;
mod opening;

pub use accept::{Acceptor, Peer, Slots};
pub use address::Address;
pub use bind::{BindError, Bound, Socket, bind};
pub use http2::{PING_INTERVAL, PING_TIMEOUT, h2_builder, http2_builder};
pub use opening::{Opened, OpeningError, Protocol, open};
