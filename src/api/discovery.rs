//! A response of a control plane, of which too many resources are not decoded: empty ones are two bytes each, and fifty once they are decoded.

use prost::{DecodeError, Message};

use super::proto::envoy::service::discovery::v3::DiscoveryResponse;
use super::protobuf::{Fields, Value};

/// The response, and how many resources it has. With more than `most` of them it has none.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_response(message: &[u8], most: usize) -> Result<(DiscoveryResponse, usize), DecodeError> {
    let (mut fields, mut resources, mut short) = (Fields::new(message), 0_usize, DiscoveryResponse::default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // What cannot be read ends this; the decoder reports it, and reads no more resources before it than are counted here.
    while let Ok(Some((field, value))) = fields.next() {
        match (field, value) {
            (2, _) => resources = resources.saturating_add(1),
            (1, Value::Bytes(version)) => short.version_info = text(version),
            (4, Value::Bytes(type_url)) => short.type_url = text(type_url),
            (5, Value::Bytes(nonce)) => short.nonce = text(nonce),
            _ => {}
        }
    }
    if resources > most {
        Ok((short, resources))
    } else {
        DiscoveryResponse::decode(message).map(|all| (all, resources))
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Any;

    use super::*;

    #[test]
    fn a_response_with_too_many_resources_has_none() {
        let any = Any { type_url: "t".into(), value: vec![1] };
        let response = DiscoveryResponse {
            version_info: "7".into(),
            resources: vec![any; 3],
            type_url: "type".into(),
            nonce: "n".into(),
        };
        let bytes = response.encode_to_vec();
        assert_eq!(read_response(&bytes, 3).unwrap(), (response.clone(), 3));
        assert_eq!(read_response(&bytes, 2).unwrap(), (DiscoveryResponse { resources: Vec::new(), ..response }, 3));
        let cut = &bytes[..bytes.len() - 1];
        assert!(read_response(cut, 3).is_err());
        assert_eq!(read_response(&[0x12, 0].repeat(1_000_000), 10).unwrap().1, 1_000_000);
    }
}
