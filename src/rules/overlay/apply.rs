//! Values of settings -> the blocks of a rule -> the rule.

use std::ops::Range;
use std::sync::Arc;

use super::domain::{errors, flag, node};
use super::{Assignment, Scope, SettingName};
use crate::rules::build::add_limits;
use crate::rules::field::Field;
use crate::rules::limit_spec::LimitSpec;
use crate::rules::pattern::matches;
use crate::rules::report::Report;
use crate::rules::{Level, Rule};
use crate::sanitize::sanitize;

/// A rule with values applied.
pub(super) struct Applied {
    pub(super) rule: Rule,
    /// `shadow_mode`, if it is set.
    pub(super) shadow_mode: Option<bool>,
    /// The settings that cannot be applied, by their order, and the reasons.
    pub(super) failed: Vec<(u64, String)>,
}

/// Applies settings, the later ones over the earlier. One that makes the rule invalid is left out.
pub(super) fn apply(rule: &Rule, settings: &[&Assignment]) -> Applied {
    let mut failed = Vec::new();
    if let Ok(applied) = build(rule, settings) {
        return applied;
    }
    let mut good: Vec<&Assignment> = Vec::new();
    for setting in settings {
        good.push(setting);
        if let Err(why) = build(rule, &good) {
            good.pop();
            failed.push((setting.order, why));
        }
    }
    let unchanged = || Applied { rule: rule.clone(), shadow_mode: None, failed: Vec::new() };
    Applied { failed, ..build(rule, &good).unwrap_or_else(|_| unchanged()) }
}

fn build(rule: &Rule, settings: &[&Assignment]) -> Result<Applied, String> {
    let mut blocks: Vec<Block> = rule.blocks.iter().cloned().map(Block::new).collect();
    let mut shadow_mode = None;
    for setting in settings {
        if setting.name == SettingName::ShadowMode {
            shadow_mode = Some(flag(setting)?);
            continue;
        }
        for place in places(rule, setting.name, setting.scope.limit)? {
            if let Some(block) = blocks.get_mut(place) {
                block.set(setting)?;
            }
        }
    }
    let blocks: Arc<[LimitSpec]> = blocks.into_iter().map(Block::finish).collect();
    let mut changed = Rule {
        limits: Vec::new(),
        unlimited: false,
        unlimited_names: Vec::new(),
        replaces: Vec::new(),
        shadow_mode: shadow_mode.unwrap_or(rule.shadow_mode),
        blocks,
        ..rule.clone()
    };
    let mut report = Report::new("");
    add_limits(&mut changed, &mut report);
    match errors(report) {
        none if none.is_empty() => Ok(Applied { rule: changed, shadow_mode, failed: Vec::new() }),
        errors => Err(errors),
    }
}

/// A block that is being changed.
struct Block {
    spec: LimitSpec,
    /// A setting has switched it off: narrower ones do not switch it on.
    off: bool,
}

impl Block {
    fn new(spec: LimitSpec) -> Self {
        Self { spec, off: false }
    }

    fn set(&mut self, setting: &Assignment) -> Result<(), String> {
        if setting.name == SettingName::Enabled {
            self.off |= !flag(setting)?;
            self.spec.enabled = Field::Given(!self.off, FROM_SETTING);
            return Ok(());
        }
        let mut report = Report::new("");
        self.spec.take_pair(setting.name.name(), &node(setting)?, &mut report);
        match setting.name {
            SettingName::RequestsPerUnit => self.spec.unlimited = Field::Absent,
            SettingName::Period => self.spec.unit = Field::Absent,
            _ => {}
        }
        match errors(report) {
            none if none.is_empty() => Ok(()),
            errors => Err(errors),
        }
    }

    /// The block. The period of one that is `unlimited` is for later, when it has a number.
    fn finish(mut self) -> LimitSpec {
        if self.spec.unlimited.is_set() && self.spec.period.line() == Some(FROM_SETTING) {
            self.spec.period = Field::Absent;
        }
        self.spec
    }
}

/// The places of the blocks that a setting changes, from 0.
pub(super) fn places(rule: &Rule, name: SettingName, limit: u32) -> Result<Range<usize>, String> {
    let count = rule.blocks.len();
    let place = usize::try_from(limit).unwrap_or(usize::MAX);
    match place {
        0 if count == 1 || name == SettingName::Enabled => Ok(0..count),
        0 => Err(format!("rule '{}' has {count} limits: give the place of one, --limit 1 to {count}", rule.path)),
        _ if place > count => Err(format!("rule '{}' has no limit {place}, only {count}", rule.path)),
        _ => Ok(place - 1..place),
    }
}

/// Whether the entries of a scope can be those of a check of the rule.
pub(super) fn check_scope(rule: &Rule, scope: &Scope) -> Result<(), String> {
    scope.entries.iter().try_for_each(|(key, value)| {
        let shown = || format!("{}={}", sanitize(key), sanitize(value));
        let mut levels = rule.levels.iter().filter(|level| level.key == *key || level.key.contains('*')).peekable();
        if levels.peek().is_none() {
            let keys: Vec<_> = rule.levels.iter().map(|level| &*level.key).collect();
            return Err(format!("rule '{}' has no entry '{}': its keys are {}", rule.path, shown(), keys.join(", ")));
        }
        let fits: Vec<&Level> = levels.filter(|level| level.value.is_empty() || matches(&level.value, value)).collect();
        match &*fits {
            [] => Err(format!("the entry '{}' is never one of rule '{}': its value is fixed", shown(), rule.path)),
            fits if fits.iter().all(|level| level.share_threshold) => Err(format!(
                "the entry '{}' has no counter of its own: rule '{}' has one for all values of a pattern (share_threshold)",
                shown(),
                rule.path
            )),
            _ => Ok(()),
        }
    })
}

/// The line of values that are not in a file.
const FROM_SETTING: usize = 1;
