//! The link to the engine of shared counters, a Redis or Valkey: the only module that knows its protocol.
//!
//! [`StoreUrl`] says where it is, [`Connection`] is one connection to one node, [`Breaker`] keeps checks from waiting for a node
//! that does not answer, [`ExactBatch`] charges counters by one script, [`LeaseBatch`]
//! takes leases of them by another, [`Facts`] are what a node reports of itself.
//!
//! A request is sent once. What is sent again, and only that: a request that was certainly not executed ([`LinkError::remedy`]).

mod breaker;
mod connection;
mod error;
mod exact;
mod exact_reply;
mod facts;
mod fitness;
mod key;
mod lease;
mod masters;
mod node;
mod plain;
mod scripted;
mod url;

pub use breaker::{Breaker, Permission};
pub use connection::{Connection, Login, NodeAddress};
pub use error::{LinkError, Remedy};
pub use exact::{ExactBatch, SharedCharge, TooManyKeys};
pub use exact_reply::{CheckOutcome, ExactReply};
pub use facts::{Facts, RIGHTS};
pub use fitness::{Finding, Fitness, Severity};
pub use key::{KeyPrefix, SharedKey};
pub use lease::{LeaseBatch, LeaseReply};
pub use masters::masters;
pub use node::Node;
pub use plain::PlainBatch;
pub use scripted::Scripted;
pub use url::{StoreUrl, Topology, UrlError};
