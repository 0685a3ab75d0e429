//! What every gRPC port offers besides its own service: health, reflection, and an end with a status.

mod ending;
mod health;
mod reflection;

pub(crate) use ending::end_with;
pub(crate) use ending::put_status;
pub(crate) use health::Health;
pub(crate) use reflection::reflection;

use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::runtime::lifecycle::Phases;

/// The services that every gRPC port offers besides its `own`: health and reflection.
pub(crate) fn common_services(phases: &Phases, own: &str) -> Routes {
    reflection(Routes::new(Health::service(phases.clone())), own)
}

/// What requests may be compressed with, on every port: what the clients of the reference service know.
pub(crate) const ACCEPTED_ENCODING: CompressionEncoding = CompressionEncoding::Gzip;
