//! Counters: listed, made fresh, banned.

use std::collections::HashSet;

use super::{Action, Author, Operations};
use crate::config::{MAX_LENGTH, check_reason};
use crate::limiter::{CounterFilter, CounterPage};
use crate::rules::{RuleSet, Scope, ScopeTarget, check_reachable, unknown};
use crate::sanitize::sanitize;
use crate::store::ExportPosition;
use crate::units::{Nanos, Timestamp};

/// A request that cannot be carried out, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadRequest(pub(crate) String);

impl Operations {
    /// One page of the counters.
    ///
    /// # Errors
    /// The filter names a domain or a rule that does not exist.
    pub(crate) fn list_counters(
        &self,
        filter: &CounterFilter,
        top: usize,
        position: ExportPosition,
    ) -> Result<CounterPage, BadRequest> {
        self.publisher.read(|_, rules| known(rules.map(|rules| &**rules), filter))?;
        Ok(self.limiter.list_counters(self.clock.now(), filter, top, position))
    }

    /// The keys of the counters of a rule, those of `entries` only if wanted, as far as replicas may share them.
    ///
    /// # Errors
    /// As for [`reset_counters`](Self::reset_counters).
    pub(crate) fn shared_keys(
        &self,
        path: &str,
        entries: &[(String, String)],
        author: &Author,
    ) -> Result<Vec<Box<[u8]>>, BadRequest> {
        self.rule_with(path, entries, author)?;
        Ok(self.limiter.shared_keys(self.clock.now(), path, entries))
    }

    /// Makes the counters of a rule fresh, and lifts their bans; those of `entries` only, and those that are banned only, if
    /// wanted. Returns how many, with those that were changed on the store of shared counters, and what the operator should know.
    ///
    /// # Errors
    /// There is no such rule, or none with these entries.
    pub(crate) fn reset_counters(
        &self,
        (path, entries): (&str, &[(String, String)]),
        only_banned: bool,
        there: HashSet<Box<[u8]>>,
        author: &Author,
    ) -> Result<(u64, Option<String>), BadRequest> {
        self.rule_with(path, entries, author)?;
        let _changing = self.changing();
        let now = self.clock.now();
        let count = self.limiter.reset_counters(now, path, entries, only_banned, there);
        let action = if only_banned { Action::Unban } else { Action::Reset };
        self.audit_counters(now, action, (path, entries), &counted(count), author);
        Ok((count, self.share_unban(path, entries, author, now)))
    }

    /// Bans the counter that the entries name. Returns the end of the ban, and what the operator should know.
    ///
    /// # Errors
    /// There is no such counter, the time is out of range, or there is no memory for a new counter.
    pub(crate) fn ban_counter(
        &self,
        path: &str,
        entries: &[(String, String)],
        length: Nanos,
        author: &Author,
    ) -> Result<(Timestamp, Option<String>), BadRequest> {
        if length.is_zero() || length > MAX_LENGTH {
            return Err(BadRequest("a ban lasts from 1 ns to 366 days".to_owned()));
        }
        self.rule_with(path, entries, author)?;
        self.publisher
            .read(|_, rules| {
                let Some(all) = rules else { return Ok(()) };
                all.rules_named(path).try_for_each(|rule| {
                    rule.entries_of_counter(entries)?;
                    check_reachable(all, rule, entries)
                })
            })
            .map_err(BadRequest)?;
        let _changing = self.changing();
        let now = self.clock.now();
        let until = now.plus(length);
        self.limiter.ban_counter(path, entries, until).map_err(BadRequest)?;
        self.audit_counters(now, Action::Ban, (path, entries), &format!("banned for {length}"), author);
        Ok((until, self.share_ban(path, entries, until, author, now)))
    }

    /// Checks that a rule exists, and that its counters may have these entries.
    fn rule_with(&self, path: &str, entries: &[(String, String)], author: &Author) -> Result<(), BadRequest> {
        check_reason(&author.reason).map_err(BadRequest)?;
        self.publisher.read(|_, rules| {
            let rules = rules.ok_or_else(|| BadRequest("no configuration is in force".to_owned()))?;
            known_rule(rules, path)?;
            let named: Vec<_> = rules.rules_named(path).collect();
            let levels = || named.iter().flat_map(|rule| &rule.levels);
            let has = |key: &str| levels().any(|level| level.key == key || level.varies.key());
            match entries.iter().find(|(key, _)| !has(key)) {
                None => Ok(()),
                Some((key, _)) => {
                    let first = named.first().map(|rule| &*rule.levels).unwrap_or_default();
                    let keys = first.iter().map(|level| &*level.key).collect::<Vec<_>>().join(", ");
                    Err(BadRequest(format!("rule '{path}' has no entry '{}': its keys are {keys}", sanitize(key))))
                }
            }
        })
    }

    pub(super) fn audit_counters(
        &self,
        time: Timestamp,
        action: Action,
        (path, entries): (&str, &[(String, String)]),
        new: &str,
        author: &Author,
    ) {
        let scope = Scope { target: ScopeTarget::Rule(path.to_owned()), entries: entries.to_vec(), limit: 0 };
        // The change itself is not stored, so a line that is missing is no reason to warn.
        let _warning = self.record(author.entry(time, action, &scope, ("", new)));
    }
}

pub(super) fn counted(count: u64) -> String {
    format!("{count} counter{}", if count == 1 { "" } else { "s" })
}

fn known(rules: Option<&RuleSet>, filter: &CounterFilter) -> Result<(), BadRequest> {
    let Some(rules) = rules else { return Ok(()) };
    if let Some(domain) = &filter.domain
        && rules.domain(domain).is_none()
    {
        return Err(BadRequest(unknown("domain", domain, rules.domains().map(|domain| &*domain.name))));
    }
    match &filter.rule {
        Some(path) if !path.ends_with(".(override)") => known_rule(rules, path),
        _ => Ok(()),
    }
}

fn known_rule(rules: &RuleSet, path: &str) -> Result<(), BadRequest> {
    if rules.rules_named(path).next().is_some() {
        return Ok(());
    }
    Err(BadRequest(unknown("rule", path, rules.rules().iter().map(|rule| &*rule.path))))
}
