//! Checks and answers as protojson, for `/json` and for people.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};

use super::proto::DESCRIPTORS;

/// Reads a `RateLimitRequest` in protojson and gives it as protobuf.
///
/// # Errors
/// What is wrong with the text; unknown fields are, as in the reference.
pub fn request_from_json(json: &[u8]) -> Result<Bytes, String> {
    let kind = message("RateLimitRequest")?;
    let mut source = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let request = DynamicMessage::deserialize_with_options(kind, &mut source, &options);
    let request = request.map_err(|error| error.to_string())?;
    source.end().map_err(|error| error.to_string())?;
    Ok(request.encode_to_vec().into())
}

/// A `RateLimitResponse` in protojson: enums by name, defaults left out.
pub fn response_to_json(protobuf: &[u8]) -> String {
    let decode = |kind| DynamicMessage::decode(kind, protobuf).map_err(|error| error.to_string());
    let encode = |answer: DynamicMessage| serde_json::to_string(&answer).map_err(|error| error.to_string());
    message("RateLimitResponse").and_then(decode).and_then(encode).unwrap_or_else(|error| {
        tracing::error!(error, "an answer cannot be written as JSON");
        "{}".to_owned()
    })
}

fn message(name: &str) -> Result<MessageDescriptor, String> {
    static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());
    let pool = POOL.as_ref().ok_or("the built-in descriptors are broken")?;
    let name = format!("envoy.service.ratelimit.v3.{name}");
    pool.get_message_by_name(&name).ok_or_else(|| format!("no message {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

    #[test]
    fn requests() {
        let json = br#"{"domain": "api", "descriptors": [{"entries": [{"key": "k", "value": "v"}], "hitsAddend": "3",
            "is_negative_hits": true, "limit": {"requestsPerUnit": 5, "unit": "MINUTE"}}], "hits_addend": 2}"#;
        let request = RateLimitRequest::decode(request_from_json(json).unwrap()).unwrap();
        assert_eq!((request.domain.as_str(), request.hits_addend), ("api", 2));
        let descriptor = &request.descriptors[0];
        assert_eq!((descriptor.hits_addend, descriptor.is_negative_hits), (Some(3), true));
        assert_eq!(descriptor.limit.map(|limit| (limit.requests_per_unit, limit.unit)), Some((5, 2)));
        for bad in ["", "{", "[]", "{\"nope\": 1}", "{} {}", "{\"domain\": 3}", "\u{fffd}"] {
            assert!(request_from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_name_their_enums_and_leave_defaults_out() {
        let answer = RateLimitResponse { overall_code: 2, ..RateLimitResponse::default() };
        assert_eq!(response_to_json(&answer.encode_to_vec()), r#"{"overallCode":"OVER_LIMIT"}"#);
        assert_eq!(response_to_json(b""), "{}");
        assert_eq!(response_to_json(b"\xff"), "{}");
    }
}
