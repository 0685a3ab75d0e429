//! The admin port: configuration and usage, over plain HTTP and gRPC, and on a page.

mod dashboard;
mod guard;
mod operations;
mod router;
mod usage;
mod within;

pub(crate) use dashboard::{Dashboard, DelayedCount};
pub(crate) use guard::Guard;
pub(crate) use operations::Admin;
pub(crate) use router::{admin_router, debug_router};
pub(crate) use usage::{Observers, Queries, Usage, read_query, write_page};
