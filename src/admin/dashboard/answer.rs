//! The answers of the services, as JSON over HTTP.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

use super::json;
use crate::api::protojson;

/// The answer to a call; `name` is the full name of its message.
pub(super) fn answer<M: Message>(name: &str, answered: Result<tonic::Response<M>, Status>) -> Response {
    let message = match answered {
        Ok(answered) => answered.into_inner(),
        Err(status) => return failed(&status),
    };
    match protojson::to_complete_json(name, &message.encode_to_vec()) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => failed(&Status::internal(error)),
    }
}

/// An error, with the status of HTTP that is closest to that of gRPC.
pub(super) fn failed(status: &Status) -> Response {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = json(code, &json!({"error": status.message()}));
    if code == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
