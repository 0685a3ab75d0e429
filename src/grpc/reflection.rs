//! Server reflection, so that grpcurl needs no proto file.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

use super::ACCEPTED_ENCODING;
use crate::api::proto::DESCRIPTORS;

/// Adds reflection v1 and v1alpha (grpcurl before 1.9 and Postman use the latter). It lists `own`, the services of the port,
/// health and itself; other descriptions can be requested by name.
pub(crate) fn reflection(mut routes: Routes, own: &[&str]) -> Routes {
    match builder(own, "grpc.reflection.v1.ServerReflection").build_v1() {
        Ok(service) => {
            let service = service.accept_compressed(ACCEPTED_ENCODING).max_decoding_message_size(MAX_REQUEST_BYTES);
            routes = routes.add_service(service);
        }
        Err(error) => tracing::error!(%error, "reflection v1 is not available: the built-in descriptors are broken"),
    }
    match builder(own, "grpc.reflection.v1alpha.ServerReflection").build_v1alpha() {
        Ok(service) => {
            let service = service.accept_compressed(ACCEPTED_ENCODING).max_decoding_message_size(MAX_REQUEST_BYTES);
            routes = routes.add_service(service);
        }
        Err(error) => {
            tracing::error!(%error, "reflection v1alpha is not available: the built-in descriptors are broken");
        }
    }
    routes
}

fn builder(own: &[&str], reflection: &str) -> Builder<'static> {
    let configured = own.iter().fold(Builder::configure(), |builder, name| builder.with_service_name(*name));
    configured
        .with_service_name("grpc.health.v1.Health")
        .with_service_name(reflection)
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// A request names a file, a symbol or a type. Each stream keeps the memory of its largest request.
const MAX_REQUEST_BYTES: usize = 16 << 10;
