//! Sets of rate limit configurations, written as indented lines.

use prost::Message;
use prost_types::Any;
use tidegate::api::proto::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit,
};

/// A set, and its version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Set {
    pub(crate) version: String,
    pub(crate) resources: Vec<Any>,
}

impl Set {
    /// The configurations of this text: a line without indentation begins a domain, whose name is that of the resource too; a line below
    /// is `KEY`, `KEY=VALUE` or either with `LIMIT/UNIT`, and what is indented further is below it.
    pub(crate) fn new(version: &str, text: &str) -> Self {
        let resources = configs(text).iter().map(|config| any(config.encode_to_vec())).collect();
        Self { version: version.to_owned(), resources }
    }

    /// The set with one more resource.
    pub(crate) fn with(mut self, resource: Any) -> Self {
        self.resources.push(resource);
        self
    }
}

/// A resource of the type that is asked for, with these bytes.
pub(crate) fn any(value: Vec<u8>) -> Any {
    Any { type_url: TYPE_URL.to_owned(), value }
}

pub(crate) const TYPE_URL: &str = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";

/// The configurations of a text, as [`Set::new`] reads it.
pub(crate) fn configs(text: &str) -> Vec<RateLimitConfig> {
    let indented = |line: &str| (line.len() - line.trim_start().len(), line.trim().to_owned());
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(indented).collect();
    let outermost = lines.iter().map(|(indent, _)| *indent).min().unwrap_or(0);
    let mut configs = Vec::new();
    let mut rest = &lines[..];
    while let Some(((_, domain), below)) = rest.split_first() {
        let end = below.iter().position(|(indent, _)| *indent == outermost).unwrap_or(below.len());
        let descriptors = descriptors(&below[..end]);
        configs.push(RateLimitConfig { name: domain.clone(), domain: domain.clone(), descriptors });
        rest = &below[end..];
    }
    configs
}

fn descriptors(lines: &[(usize, String)]) -> Vec<RateLimitDescriptor> {
    let mut found = Vec::new();
    let mut rest = lines;
    while let Some(((indent, line), below)) = rest.split_first() {
        let end = below.iter().position(|(deeper, _)| deeper <= indent).unwrap_or(below.len());
        found.push(RateLimitDescriptor { descriptors: descriptors(&below[..end]), ..descriptor(line) });
        rest = &below[end..];
    }
    found
}

fn descriptor(line: &str) -> RateLimitDescriptor {
    let (name, limit) = line.split_once(' ').map_or((line, None), |(name, limit)| (name, Some(limit)));
    let (key, value) = name.split_once('=').unwrap_or((name, ""));
    let limit = limit.map(|limit| {
        let (requests, unit) = limit.split_once('/').unwrap();
        let unit = RateLimitUnit::from_str_name(&unit.to_uppercase()).map_or(99, i32::from);
        RateLimitPolicy { unit, requests_per_unit: requests.parse().unwrap(), ..RateLimitPolicy::default() }
    });
    RateLimitDescriptor {
        key: key.to_owned(),
        value: value.to_owned(),
        rate_limit: limit,
        ..RateLimitDescriptor::default()
    }
}

#[test]
fn texts_are_read() {
    let found = configs("a\n  k=v 3/minute\n    below\nb\n");
    let RateLimitDescriptor { key, value, rate_limit, descriptors, .. } = &found[0].descriptors[0];
    assert_eq!((&**key, &**value, rate_limit.as_ref().unwrap().requests_per_unit), ("k", "v", 3));
    assert_eq!((&*descriptors[0].key, &*found[1].domain, found.len()), ("below", "b", 2));
}
