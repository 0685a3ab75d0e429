//! Server reflection, so that grpcurl needs no proto file.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

use crate::wire::proto::DESCRIPTORS;

/// Adds reflection v1 and v1alpha (grpcurl before 1.9, and Postman, ask for the latter).
pub fn reflection(mut routes: Routes) -> Routes {
    match builder().build_v1() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::error!(%error, "no reflection v1: the built-in descriptors are broken"),
    }
    match builder().build_v1alpha() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::error!(%error, "no reflection v1alpha: the built-in descriptors are broken"),
    }
    routes
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
