//! The clock, the phases and the threads of the process, the small files that it reads again, its limit of memory, and its cost as the kernel
//! reports it.

mod cgroup;
pub mod clock;
pub(crate) mod disposal;
mod huge_pages;
pub mod lifecycle;
mod once_a_minute;
mod procfs;
mod resident;
pub mod small_files;
pub mod threads;

pub(crate) use cgroup::memory_limit_bytes;
pub(crate) use huge_pages::do_without_huge_pages;
pub(crate) use once_a_minute::OnceAMinute;
pub use procfs::{Cost, Process};
pub(crate) use resident::resident_bytes;
