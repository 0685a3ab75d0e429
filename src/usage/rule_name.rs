//! The names of rules, in reports and in metrics.

/// The identity of a rule. Ordered by domain, then path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The domain.
    pub domain: String,
    /// The configured path, as in `/rlconfig`; for request overrides see [`RuleName::for_overrides`].
    pub path: String,
}

/// The labels of a series in the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The domain.
    pub domain: String,
    /// The whole path, domain included.
    pub rule: String,
    /// The first level, `key_value`, as in the metrics of the reference.
    pub key1: String,
    /// The second level.
    pub key2: String,
}

impl RuleName {
    /// The name shared by all request overrides in a domain: `DOMAIN.(override)`.
    pub fn for_overrides(domain: &str) -> Self {
        Self { domain: domain.into(), path: format!("{domain}.(override)") }
    }
}

impl Labels {
    /// The labels of a series with this domain and these levels.
    pub fn new(domain: &str, levels: &[String]) -> Self {
        let level = |i: usize| levels.get(i).cloned().unwrap_or_default();
        let rule = std::iter::once(domain).chain(levels.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
        Self { domain: domain.into(), rule, key1: level(0), key2: level(1) }
    }
}
