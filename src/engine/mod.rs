//! PURE: limits, cells and the transitions between cells; no IO, no clock, no map, no protobuf.

mod limit;

pub use limit::{Algorithm, Ban, BanWhen, Limit, Queue, QueueMode, Starts};
