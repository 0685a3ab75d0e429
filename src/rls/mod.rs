//! The gRPC data plane: threads that decide, one for each core, and the connections that each of them serves.
//!
//! Each worker is a thread with a current-thread runtime and its own listener (SO_REUSEPORT). It drives the `h2` crate's
//! connection itself: there is no router, layer or other thread between the socket and the decision. Checks that came in
//! one read are answered in one write.
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
