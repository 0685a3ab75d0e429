//! Reads only the overall code of an answer.

use crate::api::protobuf::{Fields, Value};

/// The number of `overall_code` in an encoded answer; 0 (UNKNOWN) if it has none.
///
/// The message is read to its end, so that an incomplete one is an error. No allocation.
///
/// # Errors
/// It is not a protobuf message.
pub fn overall_code(answer: &[u8]) -> Result<u64, &'static str> {
    let (mut fields, mut code) = (Fields::new(answer), 0);
    while let Some((field, value)) = fields.next()? {
        if let (OVERALL_CODE, Value::Varint(value)) = (field, value) {
            code = value;
        }
    }
    Ok(code)
}

const OVERALL_CODE: u32 = 1;

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::api::proto::envoy::service::ratelimit::v3::RateLimitResponse;
    use crate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::DescriptorStatus;

    #[test]
    fn the_code_is_that_of_the_generated_type() {
        for code in [0, 1, 2, 7] {
            let statuses = vec![DescriptorStatus { code: 2, limit_remaining: 9, ..DescriptorStatus::default() }; 3];
            let answer = RateLimitResponse { overall_code: code, statuses, ..RateLimitResponse::default() };
            let bytes = answer.encode_to_vec();
            assert_eq!(overall_code(&bytes), Ok(u64::from(code.unsigned_abs())));
            assert!(overall_code(&bytes[..bytes.len() - 1]).is_err(), "cut short");
        }
    }
}
