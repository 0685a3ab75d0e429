//! Where the rules come from: reads, watches and reloads files. Their content is parsed by [`rules`](crate::rules).
//!
//! ```text
//! Source --read--> files --rules::load--> RuleSet --apply--> limiter
//!    ^                                        |
//!    '------ Watch: something changed         '--> ReloadStatus: metrics, /readyz
//! ```

mod files;
mod reload;

pub use files::{ContentHash, Files, MAX_BYTES, Pace, ReadError, Source, Watch};
pub use reload::{FailedLoad, LoadError, Loaded, ReloadStatus, Reloader, warnings};
