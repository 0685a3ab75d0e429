//! The admin port: configuration and usage, over plain HTTP and gRPC.

mod router;
mod usage;

pub use router::admin_router;
pub use usage::{Observers, Queries, Usage};
