//! The service as its clients see it: the real binary, real sockets, real protocols.

mod admin;
mod drain;
mod health;
mod json;
mod reflection;
mod server;
mod start;
mod storm;

use server::TestServer;
