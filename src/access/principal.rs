//! Roles, domains and principals.

use std::fmt;

/// What a caller may do. Ordered: each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Role {
    /// Read usage, metrics and limits
    Observer,
    /// Also read and change settings, counters and the candidate
    Operator,
    /// Also read the audit log
    Admin,
}

/// The domains that a caller may see and change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Domains {
    /// All.
    All,
    /// These; sorted, at least one.
    Only(Vec<String>),
}

/// A caller whose token is known, or any caller of a port without tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The token's name; without tokens, the caller's address.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// Where.
    pub(crate) domains: Domains,
}

impl Role {
    /// All roles, the least first.
    pub(crate) const ALL: [Self; 3] = [Self::Observer, Self::Operator, Self::Admin];

    /// The name in files and messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Domains {
    /// Whether the domain is one of them.
    pub(crate) fn contain(&self, domain: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(domains) => domains.binary_search_by(|known| known.as_str().cmp(domain)).is_ok(),
        }
    }
}

impl Principal {
    /// A caller of a port without tokens, who may do everything.
    pub(crate) fn unrestricted(name: String) -> Self {
        Self { name, role: Role::Admin, domains: Domains::All }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_domains_are_exact() {
        assert!(Role::Observer < Role::Operator && Role::Operator < Role::Admin);
        let domains = Domains::Only(vec!["api".to_owned(), "shop".to_owned()]);
        for (domain, expected) in [("api", true), ("shop", true), ("ap", false), ("api.x", false), ("", false)] {
            assert_eq!(domains.contain(domain), expected, "{domain}");
            assert!(Domains::All.contain(domain));
        }
    }
}
