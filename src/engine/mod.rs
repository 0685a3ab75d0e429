//! PURE: limits, cells and the transitions between cells; no IO, no clock, no map, no protobuf.
//!
//! A transition is a function `(limit, state, now, operation) -> (outcome, state)`. A store replaces a counter's state in one
//! step (see [`crate::store`]); how hits are counted is decided only here:
//!
//! | algorithm | module | state | bytes |
//! | --- | --- | --- | --- |
//! | `fixed_window` | `fixed` | window end, count | 16 |
//! | `sliding_window` | `sliding` | end of the next window, two counts | 16 |
//! | `token_bucket` | `bucket` | theoretical arrival time, its fraction of a nanosecond, the time of a hit | 16 |
//! | `sliding_log` | [`log`] | every admitted hit's time | 64 + 16 per instant |
//!
//! A ban replaces the other state, because a banned counter counts nothing and is fresh afterwards.

mod ban;
mod bucket;
mod cell;
mod fixed;
mod limit;
pub mod log;
mod outcome;
mod sharing;
mod sliding;
mod step;

pub use ban::begins as begin_ban;
pub use cell::Cell;
pub use limit::{Algorithm, Ban, BanWhen, CountDenied, Limit, Queue, QueueMode, Starts};
pub use log::{Log, LogParts};
pub use outcome::{Op, Outcome, Reason, Verdict};
pub use sharing::{LEAST_PERIOD, LeaseShape, WhenDown, WhyExact, WhyLocal};
pub use step::step;
