//! How replicas share the counters of each limit, why they do not lease it, and what they cannot share.

use std::fmt;

use super::{Charge, ConfigError, Rule, RuleLimit, RuleSet, Sharing, SharingMode};
use crate::engine::{Algorithm, LeaseShape, Limit, WhenDown, WhyExact, WhyLocal};

/// How the counters of a limit are shared, and why not otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// They are not.
    Local(WhyLocal),
    /// Each hit is charged in the store.
    Exact(WhyExact),
    /// Parts of the limit are leased.
    Leased(LeaseShape),
}

impl Shared {
    /// How so many replicas share a limit, if this is configured.
    pub fn new(mode: SharingMode, limit: &Limit, replicas: u32) -> Self {
        match (mode, limit.why_not_shared()) {
            (SharingMode::Local, _) => Self::Local(WhyLocal::Configured),
            (_, Some(why)) => Self::Local(why),
            (SharingMode::Exact, None) => Self::Exact(WhyExact::Configured),
            (SharingMode::Leased, None) => match limit.lease_shape(replicas) {
                Ok(shape) => Self::Leased(shape),
                Err(why) => Self::Exact(why),
            },
        }
    }

    /// Whether it is not leased because the rules say so.
    pub const fn is_configured(self) -> bool {
        matches!(self, Self::Local(WhyLocal::Configured) | Self::Exact(WhyExact::Configured))
    }

    /// The way in which counters are shared.
    pub const fn mode(self) -> SharingMode {
        match self {
            Self::Local(_) => SharingMode::Local,
            Self::Exact(_) => SharingMode::Exact,
            Self::Leased(_) => SharingMode::Leased,
        }
    }

    /// Why they are not leased; `None`: they are.
    pub fn why_not_leased(self) -> Option<String> {
        match self {
            Self::Local(why) => Some(why.to_string()),
            Self::Exact(why) => Some(why.to_string()),
            Self::Leased(_) => None,
        }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mode().name())?;
        self.why_not_leased().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

impl Rule {
    /// What is configured for one of the rule's limits, with what the top level of the file says.
    pub fn sharing(&self, limit: &RuleLimit) -> Sharing {
        limit.sharing.over(&self.domain_sharing)
    }

    /// How so many replicas share the counters of one of the rule's limits. Cost: no allocation.
    pub fn shared(&self, limit: &RuleLimit, replicas: u32) -> Shared {
        let mode = limit.sharing.mode.or(self.domain_sharing.mode);
        Shared::new(mode.unwrap_or_default(), &limit.limit, replicas)
    }

    /// The key of the entry that decides about the slot of the counters of one of the rule's limits, in a cluster.
    pub fn slot<'r>(&'r self, limit: &'r RuleLimit) -> Option<&'r str> {
        limit.sharing.slot.as_deref().or(self.domain_sharing.slot.as_deref())
    }

    /// What decides about one of the rule's limits while the store is down; `None`: what the process is started with.
    pub fn when_down(&self, limit: &RuleLimit) -> Option<WhenDown> {
        limit.sharing.when_down.or(self.domain_sharing.when_down)
    }

    /// How one of the rule's limits is shared, in words; `None`: the configuration says nothing of sharing.
    pub fn sharing_words(&self, limit: &RuleLimit) -> Option<String> {
        let sharing = self.sharing(limit);
        if sharing.is_default() {
            return None;
        }
        let shared = self.shared(limit, 1);
        let most = match (shared, limit.limit.algorithm) {
            (Shared::Leased(LeaseShape::Bucket), Algorithm::TokenBucket { burst, .. }) => {
                format!(" by at most {} replicas", most_replicas(burst))
            }
            _ => String::new(),
        };
        let when_down = sharing.when_down.map(|when| format!("{} when the store is down", when.name()));
        let slot = sharing.slot.map(|slot| format!("in the slot of {slot:?}"));
        let words: Vec<_> = [Some(format!("{shared}{most}")), when_down, slot].into_iter().flatten().collect();
        Some(words.join(", "))
    }
}

impl RuleSet {
    /// What keeps this configuration from being shared by so many replicas, in a cluster or by one node: a limit that is charged all
    /// or nothing with those of other rules, cannot be leased, and is in no slot with them. In the order of the rules.
    pub fn sharing_errors(&self, is_cluster: bool, replicas: u32) -> Vec<ConfigError> {
        if !is_cluster {
            return Vec::new();
        }
        let joined =
            |rule: &Rule| self.domain(&rule.domain).is_some_and(|domain| domain.charge == Charge::AllOrNothing);
        let has_others = |rule: &Rule| {
            self.rules()
                .iter()
                .any(|other| other.domain == rule.domain && other.index != rule.index && !other.limits.is_empty())
        };
        let rules = self.rules().iter().filter(|rule| joined(rule) && has_others(rule));
        rules.flat_map(|rule| rule.limits.iter().filter_map(|limit| rule.slot_error(limit, replicas))).collect()
    }
}

impl Rule {
    /// Why a limit that is charged jointly with those of other rules cannot be, in a cluster.
    fn slot_error(&self, limit: &RuleLimit, replicas: u32) -> Option<ConfigError> {
        let Err(why) = limit.limit.lease_shape(replicas) else { return None };
        let is_local = matches!(self.shared(limit, replicas), Shared::Local(_));
        if is_local || !limit.enabled {
            return None;
        }
        let sharing = self.sharing(limit);
        let missing = match &sharing.slot {
            Some(slot) if self.levels.iter().any(|level| level.key == *slot) => return None,
            Some(slot) => format!("the rule has no entry {slot:?}, which 'slot' names"),
            None => {
                "give it and those rules 'sharing: {slot: KEY}' with a key that all of their entries have".to_owned()
            }
        };
        let line = self.blocks.get(limit.place.saturating_sub(1)).map_or(1, |block| block.line);
        let message = format!(
            "rule '{}' is charged all or nothing with other rules, and cannot be leased ({why}): in a cluster {missing}, or \
             charge independently",
            self.path
        );
        Some(ConfigError { file: self.file.to_string(), line, message })
    }
}

/// The number of replicas up to which a bucket is leased.
const fn most_replicas(burst: u32) -> u32 {
    burst / 100
}
