//! Requests in files, for clients that know nothing of gRPC.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices;

use crate::tonic_client::message;

pub(crate) const CHECK: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";
pub(crate) const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A check.
pub(crate) fn check(dir: &Path, key: &str, value: &str) -> PathBuf {
    write(dir, &format!("check-{key}-{}", value.len()), &message([(key, value.to_owned())]).encode_to_vec())
}

/// Of the health of everything.
pub(crate) fn health(dir: &Path) -> PathBuf {
    write(dir, "health", &[])
}

/// For the list of services.
pub(crate) fn list(dir: &Path) -> PathBuf {
    let message_request = Some(ListServices("*".to_owned()));
    write(dir, "list", &ServerReflectionRequest { message_request, ..Default::default() }.encode_to_vec())
}

/// With the prefix of gRPC.
fn write(dir: &Path, name: &str, message: &[u8]) -> PathBuf {
    let path = dir.join(name);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    fs::write(&path, [&[0], &length[..], message].concat()).unwrap();
    path
}
