//! The gRPC front end: threads that decide, one for each core, and the services beside the decision.
//!
//! Each worker is a thread with a current-thread runtime, a listener of its own (SO_REUSEPORT) and the generated service
//! on hyper's HTTP/2 connection: no router, no layer and no other thread between the socket and the decision. A worker
//! that read many checks at once answers them in one write.
//!
//! A panic in a handler ends the process in a release build (`panic = "abort"`): a supervisor restarts it, and nothing
//! serves on with half a state. In a debug build it ends the one stream.

mod checks;
mod compressed;
mod connection;
mod ending;
mod entry_keys;
mod health;
mod held;
mod keepalive;
mod partial;
mod query;
mod reflection;
mod services;
mod stream;
mod usage;
mod worker;

pub use checks::MAX_MESSAGE_BYTES;
pub use compressed::ACCEPTED_ENCODING;
pub use ending::end_with;
pub use health::Health;
pub use held::Held;
pub use partial::PartialBytes;
pub use query::Queries;
pub use reflection::reflection;
pub use usage::{Observers, Usage};
pub use worker::{Context, Workers};

use tonic::service::Routes;

use crate::shutdown::Phases;

/// The services that every gRPC port offers beside its `own`: health and reflection.
pub fn common_services(phases: &Phases, own: &str) -> Routes {
    reflection(Routes::new(Health::service(phases.clone())), own)
}
