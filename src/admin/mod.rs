//! The operators' port: what is configured and what is used, over plain HTTP and gRPC.

mod router;
mod usage;

pub use router::admin_router;
pub use usage::{Observers, Queries, Usage};
