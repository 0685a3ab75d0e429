//! Where the rules come from: files are read, watched and reloaded here; what is in them is the business of [`rules`](crate::rules).
//!
//! ```text
//! Source --read--> files --rules::load--> RuleSet --apply--> limiter
//!    ^                                        |
//!    '------ Watch: something changed         '--> ReloadStatus: metrics, /readyz
//! ```

mod listing;
mod reload;
mod source;
mod watch;

pub use reload::{FailedLoad, LoadError, Loaded, ReloadStatus, Reloader};
pub use source::{ContentHash, ReadError, Source};
pub use watch::{Pace, Watch};
