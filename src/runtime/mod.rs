//! What the process runs on: its clock, its phases, its threads, and what the kernel reports about it.

pub mod clock;
pub mod lifecycle;
mod procfs;
mod resident;
pub mod threads;

pub use procfs::{Cost, Process};
pub(crate) use resident::resident_bytes;
