//! `ShouldRateLimit`: requests are read in place, answers are written directly into the response frame.

mod frame;
pub mod json;
mod overall;
mod read;
mod response_parts;
mod write;

pub use frame::{FrameCodec, RequestFrame, ResponseFrame, first_message, sole_message};
pub use overall::overall_code;
pub(crate) use read::read_into;
pub use read::{RequestError, read};
pub use response_parts::ResponseParts;
pub use write::write;
