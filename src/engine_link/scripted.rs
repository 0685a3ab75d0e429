//! Requests that a script executes in one step.

use redis::{Cmd, Value};

use super::{ExactBatch, ExactReply, LeaseBatch, LeaseReply, LinkError};
use crate::units::Timestamp;

/// A request of one script, and how its reply is read.
pub trait Scripted: Clone + Send + 'static {
    /// The reply.
    type Reply: Send + 'static;

    /// The request by the hash of the script; an engine that has never seen the script answers NOSCRIPT.
    fn command(&self) -> Cmd;

    /// The request with the script.
    fn command_with_script(&self) -> Cmd;

    /// Reads the reply to this request.
    ///
    /// # Errors
    /// It is not one of the script.
    fn read(&self, reply: &Value) -> Result<Self::Reply, LinkError>;

    /// When the script ran, by the engine's clock.
    fn engine_time(reply: &Self::Reply) -> Timestamp;
}

impl Scripted for ExactBatch {
    type Reply = ExactReply;

    fn command(&self) -> Cmd {
        self.command()
    }

    fn command_with_script(&self) -> Cmd {
        self.command_with_script()
    }

    fn read(&self, reply: &Value) -> Result<ExactReply, LinkError> {
        self.read(reply)
    }

    fn engine_time(reply: &ExactReply) -> Timestamp {
        reply.now
    }
}

impl Scripted for LeaseBatch {
    type Reply = LeaseReply;

    fn command(&self) -> Cmd {
        self.command()
    }

    fn command_with_script(&self) -> Cmd {
        self.command_with_script()
    }

    fn read(&self, reply: &Value) -> Result<LeaseReply, LinkError> {
        self.read(reply)
    }

    fn engine_time(reply: &LeaseReply) -> Timestamp {
        reply.now
    }
}
