//! The link to the engine of shared counters, a Redis or Valkey: the only module that knows its protocol.
//!
//! [`StoreUrl`] says where it is, [`masters`] which nodes take writes. A [`Node`] is one of them, for the whole process: its
//! [`Breaker`] keeps checks from waiting for a node that does not answer. A [`Link`] is one worker's [`Connection`] to it. A
//! [`ChargeRequest`] has what many checks ask: charges by one script ([`ExactBatch`]) or by INCRBY ([`PlainBatch`]), and leases of
//! counters by another script ([`LeaseBatch`]). [`Parts`] have what operators changed. [`Facts`] are what a node reports of itself.
//!
//! A request is sent once. What is sent again, and only that: a request that was certainly not executed ([`LinkError::remedy`]).

mod breaker;
mod connection;
mod engine_clock;
mod error;
mod exact;
mod exact_reply;
mod facts;
mod fitness;
mod key;
mod lease;
mod link;
mod masters;
mod node;
mod node_counts;
mod parts;
mod plain;
mod request;
mod slot;
mod url;

pub use breaker::{Breaker, Permission};
pub use connection::{Connection, Login, NodeAddress, Tls};
pub use error::{LinkError, Remedy};
pub use exact::{ExactBatch, SharedCharge, TooManyKeys};
pub use exact_reply::{CheckOutcome, ExactReply, SharedOutcome};
pub use facts::{Facts, RIGHTS};
pub use fitness::{Finding, Fitness, Severity};
pub use key::{KeyPrefix, SharedKey, SlotName};
pub use lease::{LeaseBatch, LeaseReply};
pub use link::Link;
pub use masters::{Masters, masters};
pub use node::Node;
pub use node_counts::{NodeCounts, RequestKind, RequestTimes};
pub use parts::{PART_EXPIRY, PartVersion, Parts, ReadParts};
pub use plain::PlainBatch;
pub use request::{ChargeRequest, How, KeyedCharge, RequestForm, RequestOutcomes, SharedCheck};
pub use slot::{SLOTS, slot_of};
pub use url::{StoreUrl, Topology, UrlError};
