//! The gRPC data plane: threads that decide, one for each core, and the connections that each of them serves.
//!
//! Each worker is a thread with a current-thread runtime, a listener of its own (SO_REUSEPORT) and the generated service
//! on hyper's HTTP/2 connection: no router, no layer and no other thread between the socket and the decision. A worker
//! that read many checks at once answers them in one write.
//!
//! A panic in a handler ends the process in a release build (`panic = "abort"`): a supervisor restarts it, and nothing
//! serves on with half a state. In a debug build it ends the one stream.

mod call;
mod checks;
mod compressed;
mod connection;
mod keepalive;
mod services;
mod stream;
mod worker;

pub(crate) use worker::{Context, Workers};
