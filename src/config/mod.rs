//! Where the rules come from: files are read, watched and reloaded here; what is in them is the business of [`rules`](crate::rules).
//!
//! ```text
//! Source --read--> files --rules::load--> RuleSet --apply--> limiter
//!    ^                                        |
//!    '------ Watch: something changed         '--> ReloadStatus: metrics, /readyz
//! ```

mod listing;
mod partial_write;
mod reload;
mod source;
mod watch;

pub use reload::{FailedLoad, LoadError, Loaded, ReloadStatus, Reloader, warnings};
pub use source::{ContentHash, Files, MAX_BYTES, ReadError, Source};
pub use watch::{Pace, Watch};
