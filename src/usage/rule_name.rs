//! The names of rules, for people and for metrics.

/// Which rule is meant: sorted by domain, then path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The domain.
    pub domain: String,
    /// The configured path, as `/rlconfig` spells it; for request overrides see [`RuleName::for_overrides`].
    pub path: String,
}

/// How metrics name a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// The domain.
    pub domain: String,
    /// The whole path, domain included.
    pub rule: String,
    /// The first level, `key_value`, as the reference's metrics label it.
    pub key1: String,
    /// The second level.
    pub key2: String,
}

impl RuleName {
    /// The one name for all request overrides in a domain: `DOMAIN.(override)`.
    pub fn for_overrides(domain: &str) -> Self {
        Self { domain: domain.into(), path: format!("{domain}.(override)") }
    }
}

impl Labels {
    /// Names a series by its domain and the texts of its levels.
    pub fn new(domain: &str, levels: &[String]) -> Self {
        let level = |i: usize| levels.get(i).cloned().unwrap_or_default();
        let rule = std::iter::once(domain).chain(levels.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
        Self { domain: domain.into(), rule, key1: level(0), key2: level(1) }
    }
}
