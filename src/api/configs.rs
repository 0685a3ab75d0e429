//! The size of a rate limit configuration before it is decoded: a message of some bytes can be a structure of a hundred times as many.

use super::protobuf::{Fields, Value};

/// Takes the parts of an encoded `RateLimitConfig` from `left`: its descriptors at all levels, what they replace, and their metadata by length.
/// False: there are more. A message that cannot be read is left to its decoder.
pub(crate) fn take_parts(message: &[u8], left: &mut usize) -> bool {
    take(message, Kind::Config, 0, left)
}

#[derive(Clone, Copy)]
enum Kind {
    Config,
    Descriptor,
    Policy,
}

fn take(message: &[u8], kind: Kind, depth: usize, left: &mut usize) -> bool {
    let mut fields = Fields::new(message);
    // The decoder reports what is deeper.
    while depth < MAX_DEPTH
        && let Ok(Some((field, value))) = fields.next()
    {
        let Value::Bytes(inside) = value else { continue };
        let (taken, below) = match (kind, field) {
            (Kind::Config, 3) | (Kind::Descriptor, 4) => (1, Some(Kind::Descriptor)),
            (Kind::Descriptor, 3) => (0, Some(Kind::Policy)),
            (Kind::Descriptor, 8) => (inside.len() / LEAST_ENTRY_BYTES, None),
            (Kind::Policy, 5) => (1, None),
            _ => (0, None),
        };
        let Some(rest) = left.checked_sub(taken) else { return false };
        *left = rest;
        if below.is_some_and(|kind| !take(inside, kind, depth.saturating_add(1), left)) {
            return false;
        }
    }
    true
}

/// That of the decoder.
const MAX_DEPTH: usize = 100;
/// An entry of metadata has a key and a value.
const LEAST_ENTRY_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::api::proto::ratelimit::config::ratelimit::v3::{
        RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitReplace,
    };

    #[test]
    fn parts_are_counted_at_all_levels() {
        let replaces = vec![RateLimitReplace::default(); 2];
        let leaf = RateLimitDescriptor {
            key: "k".into(),
            rate_limit: Some(RateLimitPolicy { replaces, ..RateLimitPolicy::default() }),
            ..RateLimitDescriptor::default()
        };
        let top = RateLimitDescriptor { descriptors: vec![leaf; 3], ..RateLimitDescriptor::default() };
        let config = RateLimitConfig { descriptors: vec![top; 2], ..RateLimitConfig::default() }.encode_to_vec();
        let parts = 2 * (1 + 3 * (1 + 2));
        for (most, fits, rest) in [(parts, true, 0), (parts + 5, true, 5), (parts - 1, false, 0)] {
            let mut left = most;
            assert_eq!((take_parts(&config, &mut left), left), (fits, rest), "{most}");
        }
        let mut left = 3;
        assert!(take_parts(&[0xff; 9], &mut left) && left == 3);
    }
}
