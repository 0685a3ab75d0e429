//! The clock, the phases and the threads of the process, the small files that it reads again, and its cost as the kernel reports it.

pub mod clock;
pub mod lifecycle;
mod procfs;
mod resident;
pub mod small_files;
pub mod threads;

pub use procfs::{Cost, Process};
pub(crate) use resident::resident_bytes;
