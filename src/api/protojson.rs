//! Messages as protojson, by the descriptors of `proto/`.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::proto::DESCRIPTORS;

/// A message in protojson, in one line: enums by name, integers of 64 bits as strings, without default values. `name` is the
/// full name of its type, such as `tidegate.v1.CandidateStatus`.
///
/// # Errors
/// There is no such type, or `protobuf` is no message of it.
pub fn to_json(name: &str, protobuf: &[u8]) -> Result<String, String> {
    write(name, protobuf, true)
}

/// The same with default values, so that programs need not know that an absent field is false, zero or empty.
///
/// # Errors
/// As for [`to_json`].
pub fn to_complete_json(name: &str, protobuf: &[u8]) -> Result<String, String> {
    write(name, protobuf, false)
}

fn write(name: &str, protobuf: &[u8], skip_defaults: bool) -> Result<String, String> {
    let message = DynamicMessage::decode(descriptor(name)?, protobuf).map_err(|error| error.to_string())?;
    let mut json = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(skip_defaults);
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
        .map_err(|error| error.to_string())?;
    String::from_utf8(json).map_err(|error| error.to_string())
}

/// The descriptor of a message type, by its full name.
///
/// # Errors
/// There is no such type.
pub fn descriptor(name: &str) -> Result<MessageDescriptor, String> {
    static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());
    let pool = POOL.as_ref().ok_or("the built-in descriptors are broken")?;
    pool.get_message_by_name(name).ok_or_else(|| format!("no message {name}"))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::api::proto::tidegate::v1::{BanCounterResponse, CandidateStatus, ResetCountersResponse};

    #[test]
    fn messages() {
        let until = Some(prost_types::Timestamp { seconds: 60, nanos: 0 });
        let reset = ResetCountersResponse { reset: u64::MAX, ..Default::default() }.encode_to_vec();
        let running = CandidateStatus { state: 2, ..CandidateStatus::default() }.encode_to_vec();
        let cases = [
            ("tidegate.v1.ResetCountersResponse", reset.clone(), Ok(r#"{"reset":"18446744073709551615"}"#)),
            ("tidegate.v1.ResetCountersResponse", Vec::new(), Ok("{}")),
            ("tidegate.v1.CandidateStatus", running, Ok(r#"{"state":"RUNNING"}"#)),
            (
                "tidegate.v1.BanCounterResponse",
                BanCounterResponse { until, ..Default::default() }.encode_to_vec(),
                Ok(r#"{"until":"1970-01-01T00:01:00Z"}"#),
            ),
            ("tidegate.v1.Nothing", reset, Err("no message tidegate.v1.Nothing")),
            ("tidegate.v1.ResetCountersResponse", vec![0xff], Err("failed to decode")),
        ];
        for (name, protobuf, expected) in cases {
            match (to_json(name, &protobuf), expected) {
                (Ok(json), Ok(expected)) => assert_eq!(json, expected, "{name}"),
                (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{name}: {error}"),
                (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
            }
        }
        assert_eq!(
            to_complete_json("tidegate.v1.ResetCountersResponse", &[]).unwrap(),
            r#"{"reset":"0","warning":""}"#
        );
    }
}
