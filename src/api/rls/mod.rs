//! ShouldRateLimit: requests are read in place, answers written straight into the response frame.

mod extras;
mod frame;
pub mod json;
mod overall;
mod read;
mod write;

pub use extras::Extras;
pub use frame::{FrameCodec, RequestFrame, ResponseFrame, first_message, sole_message};
pub use overall::overall_code;
pub(crate) use read::read_into;
pub use read::{Refusal, read};
pub use write::write;
