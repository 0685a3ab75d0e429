//! PURE: the resources of a response, each as a rules file or what is wrong with it.

use prost::Message;
use prost_types::Any;

use super::{document, siblings};
use crate::api::configs::take_parts;
use crate::api::proto::ratelimit::config::ratelimit::v3::RateLimitConfig;
use crate::config::MAX_BYTES;
use crate::sanitize::sanitize;

/// One configuration of a set.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    /// Its name, as errors show it: that of the resource, else its domain, else its place in the set.
    pub(super) name: String,
    /// The domain; empty: not known.
    pub(super) domain: String,
    /// The text of the rules file, or why there is none.
    pub(super) content: Result<String, String>,
}

/// Reads all resources, in the order of domains and names: a control plane may send them in another order each time.
pub(super) fn read(resources: &[Any]) -> Vec<Resource> {
    let mut left = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    let (numbered, mut parts) = ((1..).zip(resources), MAX_PARTS);
    let one = |(place, resource)| read_one(place, resource, &mut left, &mut parts);
    let mut read: Vec<_> = numbered.map(one).collect();
    read.sort_by(|a, b| (&a.domain, &a.name).cmp(&(&b.domain, &b.name)));
    read
}

fn read_one(place: usize, resource: &Any, left: &mut usize, parts: &mut usize) -> Resource {
    let unnamed = |why| Resource { name: format!("resource {place}"), domain: String::new(), content: Err(why) };
    if resource.type_url != TYPE_URL {
        return unnamed(format!("is of another type: '{}' and not '{TYPE_URL}'", sanitize(&resource.type_url)));
    }
    // What is too large takes nothing from the others.
    let mut rest = *parts;
    if !take_parts(&resource.value, &mut rest) {
        return unnamed(format!("makes the set larger than {MAX_PARTS} descriptors"));
    }
    *parts = rest;
    let RateLimitConfig { name, domain, descriptors } = match RateLimitConfig::decode(&*resource.value) {
        Ok(config) => config,
        Err(error) => return unnamed(format!("cannot be read: {error}")),
    };
    let config = RateLimitConfig { name, domain, descriptors: siblings::merge(descriptors) };
    let content = document::write(&config, *left).map_err(|document::TooLong| {
        format!("makes the set longer than {MAX_BYTES} bytes: spread the domains over several services")
    });
    *left = left.saturating_sub(content.as_ref().map_or(0, String::len));
    let shown = [&config.name, &config.domain].into_iter().find(|name| !name.is_empty());
    let name = shown.map_or_else(|| format!("resource {place}"), |name| sanitize(name));
    Resource { name, domain: config.domain, content }
}

/// Descriptors of a set at all levels: in a rules file each takes three values at least, of a million. Decoded they take 200 bytes each.
const MAX_PARTS: usize = 1_000_000;

/// The type of the resources.
pub(super) const TYPE_URL: &str = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str, domain: &str) -> Any {
        let config = RateLimitConfig { name: name.to_owned(), domain: domain.to_owned(), ..RateLimitConfig::default() };
        Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() }
    }

    #[test]
    fn a_resource_of_too_many_parts_is_not_decoded() {
        // A descriptor without a key takes two bytes.
        let many = Any { type_url: TYPE_URL.to_owned(), value: [0x1a, 0x00].repeat(MAX_PARTS + 1) };
        let read = read(&[many, any("a", "a")]);
        assert!(read[0].content.as_ref().unwrap_err().contains("larger than 1000000 descriptors"), "{:?}", read[0]);
    }

    #[test]
    fn resources_are_read_in_one_order_and_have_a_name() {
        let other = Any { type_url: "type.googleapis.com/other".to_owned(), ..any("x", "x") };
        let garbage = Any { value: vec![0xff; 8], ..any("", "") };
        let read = read(&[any("z", "b"), any("", "a"), any("", ""), other, garbage, any("c", "b")]);
        let shown: Vec<_> = read.iter().map(|r| (&*r.name, &*r.domain, r.content.is_ok())).collect();
        assert_eq!(
            shown,
            [
                ("resource 3", "", true),
                ("resource 4", "", false),
                ("resource 5", "", false),
                ("a", "a", true),
                ("c", "b", true),
                ("z", "b", true)
            ]
        );
        assert!(read[1].content.as_ref().unwrap_err().contains("'type.googleapis.com/other'"), "{read:?}");
    }
}
