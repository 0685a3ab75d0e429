//! What all gRPC ports have in common: health, reflection, and streams that end with a status.

mod ending;
mod health;
mod reflection;

pub(crate) use ending::end_with;
pub(crate) use ending::put_status;
pub(crate) use health::{Health, Ready};
pub(crate) use reflection::reflection;

use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::runtime::lifecycle::Phases;

/// The services of every gRPC port in addition to its `own`: health and reflection.
pub(crate) fn common_services(phases: &Phases, ready: &Ready, own: &[&str]) -> Routes {
    reflection(Routes::new(Health::service(phases.clone(), ready.clone())), own)
}

/// The compression that requests may use on every port: the one that clients of the reference service use.
pub(crate) const ACCEPTED_ENCODING: CompressionEncoding = CompressionEncoding::Gzip;
