//! PURE: descriptors with the same key and value below one parent become one, unless both have a limit.
//!
//! Envoy Gateway accepts a policy with the same client addresses once `Exact` and once `Distinct`, and sends two siblings for it: one with
//! a limit, one with the limit on a level below. envoyproxy/ratelimit rejects the whole set for it. Together they mean what the
//! policy means: the descriptor of the first rule ends at the node, that of the second one goes on.

use std::collections::HashMap;

use crate::api::proto::ratelimit::config::ratelimit::v3::RateLimitDescriptor;

/// Merges siblings on all levels. Those that both have a limit stay, for the loader to report them.
pub(super) fn merge(descriptors: Vec<RateLimitDescriptor>) -> Vec<RateLimitDescriptor> {
    let mut merged: Vec<RateLimitDescriptor> = Vec::with_capacity(descriptors.len());
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for descriptor in descriptors {
        let name = (descriptor.key.clone(), descriptor.value.clone());
        let known = places.get(&name).and_then(|&place| merged.get_mut(place));
        match known {
            Some(known) if known.rate_limit.is_none() || descriptor.rate_limit.is_none() => join(known, descriptor),
            Some(_) => merged.push(descriptor),
            None => {
                places.insert(name, merged.len());
                merged.push(descriptor);
            }
        }
    }
    for descriptor in &mut merged {
        descriptor.descriptors = merge(std::mem::take(&mut descriptor.descriptors));
    }
    merged
}

/// Flags and metadata belong to the limit.
fn join(known: &mut RateLimitDescriptor, other: RateLimitDescriptor) {
    known.descriptors.extend(other.descriptors);
    if known.rate_limit.is_none() {
        known.rate_limit = other.rate_limit;
        known.shadow_mode = other.shadow_mode;
        known.quota_mode = other.quota_mode;
        known.detailed_metric = other.detailed_metric;
        known.metadata = other.metadata;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::ratelimit::config::ratelimit::v3::RateLimitPolicy;

    /// `key=value limit`, with what is below in parentheses.
    fn show(descriptors: &[RateLimitDescriptor]) -> String {
        let one = |descriptor: &RateLimitDescriptor| {
            let RateLimitDescriptor { key, value, rate_limit, shadow_mode, descriptors, .. } = descriptor;
            let limit = rate_limit.as_ref().map(|limit| format!(" {}", limit.requests_per_unit)).unwrap_or_default();
            let shadow = if *shadow_mode { " shadow" } else { "" };
            let below = if descriptors.is_empty() { String::new() } else { format!(" ({})", show(descriptors)) };
            format!("{key}={value}{limit}{shadow}{below}")
        };
        descriptors.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn descriptor(
        key: &str,
        value: &str,
        limit: Option<u32>,
        descriptors: Vec<RateLimitDescriptor>,
    ) -> RateLimitDescriptor {
        RateLimitDescriptor {
            key: key.to_owned(),
            value: value.to_owned(),
            rate_limit: limit
                .map(|requests_per_unit| RateLimitPolicy { requests_per_unit, ..RateLimitPolicy::default() }),
            descriptors,
            ..RateLimitDescriptor::default()
        }
    }

    #[test]
    fn siblings_merge_unless_both_have_a_limit() {
        let below = |limit| vec![descriptor("remote_address", "", Some(limit), Vec::new())];
        let exact = || descriptor("cidr", "10.0.0.0/8", Some(5), Vec::new());
        let distinct = || descriptor("cidr", "10.0.0.0/8", None, below(7));
        let shadowed = RateLimitDescriptor { shadow_mode: true, ..exact() };
        for (given, expected) in [
            (vec![exact(), distinct()], "cidr=10.0.0.0/8 5 (remote_address= 7)"),
            (vec![distinct(), exact()], "cidr=10.0.0.0/8 5 (remote_address= 7)"),
            (vec![distinct(), shadowed], "cidr=10.0.0.0/8 5 shadow (remote_address= 7)"),
            (vec![exact(), exact()], "cidr=10.0.0.0/8 5, cidr=10.0.0.0/8 5"),
            // On the level below they meet, and both have a limit.
            (vec![distinct(), distinct()], "cidr=10.0.0.0/8 (remote_address= 7, remote_address= 7)"),
            (vec![exact(), descriptor("cidr", "", None, below(7))], "cidr=10.0.0.0/8 5, cidr= (remote_address= 7)"),
        ] {
            assert_eq!(show(&merge(given)), expected);
        }
    }
}
