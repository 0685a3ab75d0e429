//! The values of a rule or domain, as a rules file would have them, and where they are written.

use super::SettingName;
use crate::engine::{Ban, BanWhen, Queue, QueueMode};
use crate::rules::field::{Field, Requests};
use crate::rules::limit_spec::LimitSpec;
use crate::rules::{Domain, Origin, Rule, duration};

/// A value, and where it is written; `None`: nowhere, it is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredValue {
    /// The value.
    pub value: String,
    /// Where it is written. Meaningless if it comes from a setting.
    pub origin: Option<Origin>,
}

impl Rule {
    /// Whether it is written with several limits.
    pub fn has_several_limits(&self) -> bool {
        self.blocks.len() > 1
    }

    /// The value of a name; `limit` is the place of the limit, from 1, or 0 for the only one.
    ///
    /// # Errors
    /// The rule has several limits, and the place of none or of one that does not exist is given.
    pub fn configured_value(&self, name: SettingName, limit: u32) -> Result<ConfiguredValue, String> {
        let place = super::apply::places(self, name, limit)?.start;
        let Some(block) = self.blocks.get(place) else { return Err(format!("rule '{}' has no limit", self.path)) };
        let (value, line) = match name {
            SettingName::ShadowMode => (self.shadow_mode.to_string(), self.shadow_line),
            SettingName::Enabled => (block.is_enabled().to_string(), block.enabled.line()),
            _ => block.value(name),
        };
        Ok(ConfiguredValue { value, origin: line.map(|line| Origin { file: self.file.clone(), line }) })
    }
}

impl Domain {
    /// Whether the domain is enabled, and where that is written.
    pub fn configured_enabled(&self) -> ConfiguredValue {
        ConfiguredValue { value: self.enabled.to_string(), origin: self.enabled_at.clone() }
    }
}

impl LimitSpec {
    fn value(&self, name: SettingName) -> (String, Option<usize>) {
        let requests = self.requests_text();
        match name {
            SettingName::RequestsPerUnit => (requests, self.unlimited.line().or(self.requests.line())),
            SettingName::Period => match (&self.period, &self.unit) {
                (Field::Given(period, line), _) => (period.written(), Some(*line)),
                (_, Field::Given(unit, line)) => (unit.to_lowercase(), Some(*line)),
                _ => (NONE.to_owned(), None),
            },
            SettingName::Burst => match &self.burst {
                Field::Given(burst, line) => (burst.to_string(), Some(*line)),
                _ => (requests, None),
            },
            SettingName::Queue => shown(&self.queue, queue_text),
            SettingName::Ban => shown(&self.ban, ban_text),
            SettingName::Enabled | SettingName::ShadowMode => (NONE.to_owned(), None),
        }
    }

    fn requests_text(&self) -> String {
        match self.requests {
            _ if self.unlimited.is_set() => UNLIMITED.to_owned(),
            Field::Given(Requests::Unlimited, _) => UNLIMITED.to_owned(),
            Field::Given(Requests::AtMost(max), _) => max.to_string(),
            _ => "0".to_owned(),
        }
    }
}

fn shown<T>(field: &Field<T>, text: impl Fn(&T) -> String) -> (String, Option<usize>) {
    match field {
        Field::Given(value, line) => (text(value), Some(*line)),
        _ => (NONE.to_owned(), None),
    }
}

fn queue_text(queue: &Queue) -> String {
    match queue.mode {
        QueueMode::Advise => format!("{{size: {}, mode: advise}}", queue.size),
        QueueMode::Hold | QueueMode::HoldAtMost(_) => queue.size.to_string(),
    }
}

fn ban_text(ban: &Ban) -> String {
    match ban.when {
        BanWhen::Reached => duration::written(ban.length),
        BanWhen::Exceeded => format!("{{for: {}, when: exceeded}}", duration::written(ban.length)),
    }
}

const NONE: &str = "none";
const UNLIMITED: &str = "-1";
