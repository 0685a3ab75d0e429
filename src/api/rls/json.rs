//! Checks and answers as protojson, for `/json` and the command line.

mod number;
mod request;

use bytes::Bytes;
use serde::de::DeserializeSeed;

use crate::api::protojson;
use request::Message;

/// Converts a `RateLimitRequest` from protojson to protobuf. Bytes that are not UTF-8 are decoded lossily, as in a frame.
///
/// # Errors
/// What is wrong with the text. As in the reference, unknown fields are errors.
pub fn request_from_json(json: &[u8]) -> Result<Bytes, String> {
    let kind = protojson::descriptor("envoy.service.ratelimit.v3.RateLimitRequest")?;
    let text = String::from_utf8_lossy(json);
    let mut source = serde_json::Deserializer::from_str(&text);
    let mut request = Vec::new();
    let read = Message { kind, out: &mut request }.deserialize(&mut source);
    read.and_then(|()| source.end()).map_err(|error| error.to_string())?;
    Ok(request.into())
}

/// A `RateLimitResponse` in protojson: enums by name, without default values.
pub fn response_to_json(protobuf: &[u8]) -> String {
    protojson::to_json("envoy.service.ratelimit.v3.RateLimitResponse", protobuf).unwrap_or_else(|error| {
        tracing::error!(error, "an answer cannot be written as JSON");
        "{}".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::api::proto::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

    fn read(json: &str) -> Result<RateLimitRequest, String> {
        request_from_json(json.as_bytes()).map(|bytes| RateLimitRequest::decode(bytes).unwrap())
    }

    #[test]
    fn requests() {
        let json = r#"{"domain": "api", "descriptors": [{"entries": [{"key": "k", "value": "v\u00e9\n"}, {}], "hitsAddend": "3",
            "is_negative_hits": true, "limit": {"requestsPerUnit": 5, "unit": "MINUTE", "unit_multiplier": 2}},
            {"hitsAddend": 0, "limit": {}}], "hits_addend": 2}"#;
        let request = read(json).unwrap();
        assert_eq!((request.domain.as_str(), request.hits_addend, request.descriptors.len()), ("api", 2, 2));
        let descriptor = &request.descriptors[0];
        let entries: Vec<_> = descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
        assert_eq!(entries, [("k", "v\u{e9}\n"), ("", "")]);
        assert_eq!((descriptor.hits_addend, descriptor.is_negative_hits), (Some(3), true));
        let limit = descriptor.limit.unwrap();
        assert_eq!((limit.requests_per_unit, limit.unit, limit.unit_multiplier), (5, 2, Some(2)));
        let other = &request.descriptors[1];
        assert_eq!((other.hits_addend, other.limit.map(|limit| limit.unit)), (Some(0), Some(0)));
    }

    /// The request's hits (a number), the descriptor's (in a wrapper), an override's number and multiplier (a wrapper).
    #[test]
    fn whole_numbers_in_any_notation() {
        for (json, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("-0.0", Ok(0)),
            ("\"-0\"", Ok(0)),
            ("7", Ok(7)),
            ("7.0", Ok(7)),
            ("\"7.0\"", Ok(7)),
            ("7e0", Ok(7)),
            ("1e1", Ok(10)),
            ("\"1E1\"", Ok(10)),
            ("1.5e+1", Ok(15)),
            ("100e-1", Ok(10)),
            ("\"\\u0037\"", Ok(7)),
            ("4294967295", Ok(u32::MAX)),
            ("42949672950e-1", Ok(u32::MAX)),
            ("null", Ok(0)),
            ("4294967296", Err(true)),
            ("1e10", Err(true)),
            ("-1", Err(false)),
            ("2.5", Err(false)),
            ("1e-1", Err(false)),
            ("18446744073709551616", Err(false)),
            ("1e999999999", Err(false)),
            ("\"03\"", Err(false)),
            ("\"+3\"", Err(false)),
            ("\" 3\"", Err(false)),
            ("\"3 \"", Err(false)),
            ("\"3.\"", Err(false)),
            ("\"0x3\"", Err(false)),
            ("\"\"", Err(false)),
            ("\"null\"", Err(false)),
            ("\"\\\"3\\\"\"", Err(false)),
            ("true", Err(false)),
            ("[3]", Err(false)),
            ("{}", Err(false)),
            ("{\"value\": 3}", Err(false)),
            ("03", Err(false)),
            ("+3", Err(false)),
            ("3.", Err(false)),
            ("NaN", Err(false)),
        ] {
            let hits = read(&format!("{{\"hitsAddend\": {json}}}")).map(|request| request.hits_addend);
            assert_eq!(hits.map_err(drop), expected.map_err(drop), "hits of the request: {json}");
            let descriptor = |field: &str| read(&format!("{{\"descriptors\": [{field}]}}"));
            let wrapped = descriptor(&format!("{{\"hits_addend\": {json}}}"));
            let wrapped = wrapped.map(|request| request.descriptors[0].hits_addend);
            match expected {
                Ok(_) if json == "null" => assert_eq!(wrapped, Ok(None)),
                Ok(number) => assert_eq!(wrapped, Ok(Some(number.into())), "hits of a descriptor: {json}"),
                // Too large for 32 bits, but not for 64.
                Err(in_64) => assert_eq!(wrapped.is_ok(), in_64, "hits of a descriptor: {json}"),
            }
            for field in ["requestsPerUnit", "unitMultiplier"] {
                let limit = descriptor(&format!("{{\"limit\": {{\"{field}\": {json}}}}}"));
                let limit = limit.map(|request| request.descriptors[0].limit.unwrap());
                let got = limit.map(|limit| {
                    if field == "requestsPerUnit" {
                        limit.requests_per_unit
                    } else {
                        limit.unit_multiplier.unwrap_or(0)
                    }
                });
                assert_eq!(got.map_err(drop), expected.map_err(drop), "{field}: {json}");
            }
        }
    }

    #[test]
    fn enums_by_name_or_number() {
        for (json, expected) in [
            ("\"MINUTE\"", Some(2)),
            ("\"UNKNOWN\"", Some(0)),
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("20e-1", Some(2)),
            ("-0", Some(0)),
            ("7", Some(7)),
            ("99", Some(99)),
            ("-1", Some(-1)),
            ("-2147483648", Some(i32::MIN)),
            ("null", Some(0)),
            ("\"minute\"", None),
            ("\"WEEK\"", None),
            ("\"2\"", None),
            ("\"\"", None),
            ("2.5", None),
            ("2147483648", None),
            ("true", None),
            ("[]", None),
            ("{}", None),
        ] {
            let request = read(&format!("{{\"descriptors\": [{{\"limit\": {{\"unit\": {json}}}}}]}}"));
            let unit = request.ok().map(|request| request.descriptors[0].limit.unwrap().unit);
            assert_eq!(unit, expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (json, expected) in [
            ("", "EOF while parsing a value"),
            ("{", "EOF while parsing an object"),
            ("null", "invalid type: null, expected an object, a RateLimitRequest"),
            ("[]", "invalid type: sequence, expected an object, a RateLimitRequest"),
            ("\"x\"", "invalid type: string \"x\", expected an object, a RateLimitRequest"),
            ("{} {}", "trailing characters"),
            ("\u{feff}{}", "expected value"),
            ("{'domain': 1}", "key must be a string"),
            ("{\"domain\": \"d\",}", "trailing comma"),
            ("{\"nope\": 1}", "unknown field \"nope\""),
            ("{\"hits_Addend\": 1}", "unknown field \"hits_Addend\""),
            ("{\"[x]\": 1}", "unknown field \"[x]\""),
            ("{\"domain\": 3}", "domain: 3 is not a string"),
            ("{\"domain\": {}}", "domain: {} is not a string"),
            ("{\"domain\": \"\\ud800\"}", "domain: \"\\ud800\" is not a string"),
            ("{\"domain\": \"d\", \"domain\": \"d\"}", "duplicate field \"domain\""),
            ("{\"domain\": null, \"domain\": \"d\"}", "duplicate field \"domain\""),
            ("{\"hits_addend\": 1, \"hitsAddend\": 1}", "duplicate field \"hitsAddend\""),
            ("{\"descriptors\": {}}", "invalid type: map, expected a list for descriptors"),
            ("{\"descriptors\": [null]}", "invalid type: null, expected an object, a RateLimitDescriptor"),
            ("{\"descriptors\": [], \"descriptors\": []}", "duplicate field \"descriptors\""),
            ("{\"descriptors\":\n[{\"isNegativeHits\": \"true\"}]}", "isNegativeHits: \"true\" is not true or false"),
            ("{\"descriptors\": [{\"is_negative_hits\": 1}]}", "isNegativeHits: 1 is not true or false"),
            ("{\"descriptors\": [{\"limit\": {\"unit\": \"WEEK\"}}]}", "unit: \"WEEK\" is not a RateLimitUnit"),
            ("{\"hitsAddend\": 2.5}", "hitsAddend: 2.5 is not a whole number from 0 to 4294967295"),
        ] {
            let error = read(json).unwrap_err();
            let (reason, _position) = error.split_once(" at line ").unwrap();
            assert_eq!(reason, expected, "{json}");
        }
        let second_line = read("{\"domain\": \"d\",\n\"nope\": 1}").unwrap_err();
        assert_eq!(second_line, "unknown field \"nope\" at line 2 column 6");
        let long = read(&format!("{{\"domain\": [{}]}}", "1,".repeat(1_000))).unwrap_err();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn null_is_none_and_bytes_that_are_no_text_are_limited() {
        let nulls = r#"{"domain": null, "descriptors": null, "hitsAddend": null}"#;
        assert_eq!(read(nulls), Ok(RateLimitRequest::default()));
        let request = request_from_json(b"{\"domain\": \"a\xe9b\"}").unwrap();
        assert_eq!(RateLimitRequest::decode(request).unwrap().domain, "a\u{fffd}b");
        assert!(request_from_json(b"\xff{}").is_err());
    }

    #[test]
    fn answers_name_their_enums_and_leave_defaults_out() {
        let answer = RateLimitResponse { overall_code: 2, ..RateLimitResponse::default() };
        assert_eq!(response_to_json(&answer.encode_to_vec()), r#"{"overallCode":"OVER_LIMIT"}"#);
        assert_eq!(response_to_json(b""), "{}");
        assert_eq!(response_to_json(b"\xff"), "{}");
    }
}
