//! The gRPC data plane: worker threads, one per core, and their connections.
//!
//! Each worker is a thread with a current-thread runtime, its own listener (SO_REUSEPORT), and its own HTTP/2 connections, on
//! the `h2` crate or, with `--http2 lean`, on `http2::server`: no router, no layer and no other thread between the socket and the decision. A worker that read several
//! checks at once answers them in one write.
//!
//! A panic in a handler ends the process in a release build (`panic = "abort"`), so that it does not continue with an
//! inconsistent state; a supervisor restarts it. In a debug build it ends only the stream.

mod age;
mod arriving;
mod call;
mod checks;
mod compressed;
mod connection;
mod ending;
mod keepalive;
mod lean;
mod responder;
mod services;
mod stream;
mod tasks;
mod waits;
mod worker;

pub(crate) use services::OtherCalls;
pub(crate) use worker::{Context, Workers};
