//! What a setting applies to, and what can be set.

use std::fmt;

use super::Inactive;

/// One setting: a value for a name in a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What it applies to.
    pub scope: Scope,
    /// What is set.
    pub name: SettingName,
    /// The value, as a rules file would have it.
    pub value: String,
    /// Grows with each change: of two that are equally narrow, the later one wins.
    pub order: u64,
}

/// What a setting applies to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// A rule, a domain, or everything.
    pub target: ScopeTarget,
    /// Only checks with these entries, sorted; each key once.
    pub entries: Vec<(String, String)>,
    /// Of a rule with several limits, the place of the limit, from 1; 0 if it is not given.
    pub limit: u32,
}

/// The widest part of a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeTarget {
    /// All domains.
    Everything,
    /// A domain.
    Domain(String),
    /// Every rule with this path.
    Rule(String),
}

impl ScopeTarget {
    /// The kind and the name, as they are stored and sent to other replicas.
    pub fn to_parts(&self) -> (&'static str, &str) {
        match self {
            Self::Everything => ("everything", ""),
            Self::Domain(name) => ("domain", name),
            Self::Rule(path) => ("rule", path),
        }
    }

    /// The target with these parts; `None`: there is no such kind.
    pub fn from_parts(kind: &str, name: String) -> Option<Self> {
        match kind {
            "everything" => Some(Self::Everything),
            "domain" => Some(Self::Domain(name)),
            "rule" => Some(Self::Rule(name)),
            _ => None,
        }
    }
}

/// What can be set. The order is that in which the values of a rule are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SettingName {
    /// Hits allowed per period; negative: unlimited.
    RequestsPerUnit,
    /// The window's length.
    Period,
    /// The bucket's size.
    Burst,
    /// Hits above the burst that may wait.
    Queue,
    /// A ban of fixed length.
    Ban,
    /// Whether anything is limited.
    Enabled,
    /// Whether what is over the limit is admitted.
    ShadowMode,
}

impl SettingName {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::RequestsPerUnit, Self::Period, Self::Burst, Self::Queue, Self::Ban, Self::Enabled, Self::ShadowMode];

    /// The name, which is also the key in a rules file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerUnit => "requests_per_unit",
            Self::Period => "period",
            Self::Burst => "burst",
            Self::Queue => "queue",
            Self::Ban => "ban",
            Self::Enabled => "enabled",
            Self::ShadowMode => "shadow_mode",
        }
    }

    /// The name with this text for a target.
    ///
    /// # Errors
    /// The target has no such name; the text says which it has.
    pub fn read(text: &str, target: &ScopeTarget) -> Result<Self, String> {
        let known = || Self::ALL.into_iter().filter(|name| name.fits(target));
        if let Some(name) = known().find(|name| name.name() == text) {
            return Ok(name);
        }
        let names: Vec<_> = known().map(Self::name).collect();
        let what = match target {
            ScopeTarget::Rule(_) => "a rule",
            ScopeTarget::Domain(_) => "a domain",
            ScopeTarget::Everything => "everything",
        };
        let wrong = super::unknown("setting", text, names.iter().copied());
        Err(format!("{wrong}; {what} has: {}", names.join(", ")))
    }

    fn fits(self, target: &ScopeTarget) -> bool {
        matches!(target, ScopeTarget::Rule(_)) || matches!(self, Self::Enabled | Self::ShadowMode)
    }
}

impl fmt::Display for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Scope {
    /// Everything.
    pub const EVERYTHING: Self = Self { target: ScopeTarget::Everything, entries: Vec::new(), limit: 0 };

    /// A scope from its parts.
    ///
    /// # Errors
    /// Too many entries, a key that is empty or given twice, a text that is too long, or entries or a limit without a rule.
    pub fn new(target: ScopeTarget, mut entries: Vec<(String, String)>, limit: u32) -> Result<Self, String> {
        let name = match &target {
            ScopeTarget::Everything => "",
            ScopeTarget::Domain(name) | ScopeTarget::Rule(name) => name,
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(format!("the name of a rule or domain is at most {MAX_NAME_BYTES} bytes long"));
        }
        if !entries.is_empty() && target == ScopeTarget::Everything {
            return Err("an entry narrows a rule or a domain: give one of them".to_owned());
        }
        if limit > 0 && !matches!(target, ScopeTarget::Rule(_)) {
            return Err("a limit is one of a rule: give the rule".to_owned());
        }
        if entries.len() > MAX_ENTRIES {
            return Err(format!("at most {MAX_ENTRIES} entries are possible"));
        }
        if entries.iter().any(|(key, value)| key.len().max(value.len()) > MAX_TEXT_BYTES) {
            return Err(format!("keys and values of entries are at most {MAX_TEXT_BYTES} bytes long"));
        }
        if entries.iter().any(|(key, _)| key.is_empty()) {
            return Err("an entry has no key".to_owned());
        }
        entries.sort_unstable();
        let twice = entries.windows(2).find_map(|pair| match pair {
            [(one, _), (other, _)] if one == other => Some(one),
            _ => None,
        });
        match twice {
            Some(key) => Err(format!("the entry '{}' is given twice", crate::sanitize::sanitize(key))),
            None => Ok(Self { target, entries, limit }),
        }
    }
}

/// `rule api.user, limit 2, tenant=acme`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)?;
        if self.limit > 0 {
            write!(f, ", limit {}", self.limit)?;
        }
        self.entries.iter().try_for_each(|(key, value)| write!(f, ", {key}={value}"))
    }
}

impl fmt::Display for ScopeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Domain(name) => write!(f, "domain {name}"),
            Self::Rule(path) => write!(f, "rule {path}"),
        }
    }
}

impl Assignment {
    pub(super) fn inactive(&self, why: &str) -> Inactive {
        Inactive { scope: self.scope.clone(), name: self.name, why: why.to_owned() }
    }
}

/// Entries of a scope: as many as a deep descriptor has.
pub(super) const MAX_ENTRIES: usize = 8;
/// A key or value of an entry: longer ones are not in the keys of counters.
pub(super) const MAX_TEXT_BYTES: usize = 200;
/// A rule's path has a level for each entry of a descriptor.
const MAX_NAME_BYTES: usize = 16 << 10;
