//! The rows of the page: what is in the place, filtered and sorted.

use std::collections::{BTreeMap, HashMap};

use super::{Model, Page};
use crate::api::proto::tidegate::v1::{Counter, Denial, Entry};
use crate::cli::admin::render::entries as entries_text;
use crate::cli::admin::time::{length, timestamp};
use crate::cli::admin::top::place::Place;
use crate::cli::admin::top::row::{Row, Sort, Target, fullness};
use crate::cli::admin::top::usage::{Key, Rule};
use crate::cli::admin::top::words::{limits_text, state_of_limits};

impl Model {
    /// The rows of the page, in their order.
    pub(in crate::cli::admin::top) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = match (self.page, &self.place) {
            (Page::Usage, Place::Everything) => self.domains(),
            (Page::Usage, Place::Domain(_)) => self.rules(),
            (Page::Usage, Place::Rule { domain, rule }) => self.values(domain, rule),
            (Page::Usage, Place::Value { .. }) => self.counter_rows(),
            (Page::Keys, _) => self.keys(),
            (Page::Bans, _) => self.bans(),
            (Page::Denials, _) => self.denied_checks(),
        };
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        rows.retain(|row| wanted.is_empty() || has(&row.name) || has(row.rule));
        if self.page != Page::Denials {
            rows.sort_by(|a, b| self.sort.compare(a, b, self.totals));
        }
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    /// The selected row: where it is now, or what is in its place.
    pub(in crate::cli::admin::top) fn selected_of(&self, rows: &[Row<'_>]) -> usize {
        let found = self.selected.as_ref().and_then(|target| rows.iter().position(|row| row.target == *target));
        found.unwrap_or_else(|| self.cursor.min(rows.len().saturating_sub(1)))
    }

    /// The busiest or the most denied keys of the place.
    pub(in crate::cli::admin::top) fn top_keys(&self, sort: Sort) -> Vec<Row<'_>> {
        let mut rows = self.keys();
        rows.sort_by(|a, b| sort.compare(a, b, self.totals));
        if sort == Sort::Denied {
            rows.retain(|row| row.totals.is_some_and(|totals| totals.denied > 0));
        }
        rows
    }

    fn domains(&self) -> Vec<Row<'_>> {
        let mut fullest: HashMap<&str, f64> = HashMap::new();
        for counter in self.place_counters().iter().chain(self.denying_counters()) {
            note_fullest(&mut fullest, &counter.domain, counter);
        }
        let rows = self.usage.domains().map(|(domain, track)| {
            let rules = || self.usage.rules(&self.place).filter(move |(_, rule)| rule.domain == *domain);
            let is_off = |rule: &Rule| !rule.limits.is_empty() && rule.limits.iter().all(|limit| !limit.enabled);
            let off = rules().filter(|(_, rule)| is_off(rule)).count();
            Row {
                count: rules().count(),
                fullest: fullest.get(domain).copied(),
                state: if off == 0 { String::new() } else { format!("{off} off") },
                ..Row::new(Target::Domain(domain.to_owned()), domain.to_owned()).counted(Some(track))
            }
        });
        rows.collect()
    }

    fn rules(&self) -> Vec<Row<'_>> {
        let mut fullest: HashMap<&str, f64> = HashMap::new();
        for counter in self.place_counters().iter().chain(self.denying_counters()) {
            note_fullest(&mut fullest, &counter.rule, counter);
        }
        let denying = self.denying_by_rule();
        let row = |(path, rule): (&str, &'_ Rule)| {
            let target = Target::Rule { domain: rule.domain.clone(), rule: path.to_owned() };
            let limits = state_of_limits(&rule.limits);
            let denying = denying.get(path).map(|(all, banned)| state_of(*all, *banned)).unwrap_or_default();
            let name = path.strip_prefix(&format!("{}.", rule.domain)).unwrap_or(path).to_owned();
            (target, name, limits_text(&rule.limits), joined(&[&limits, &denying]), fullest.get(path).copied())
        };
        let rules = self.usage.rules(&self.place).map(|(path, rule)| {
            let (target, name, limit, state, fullest) = row((path, rule));
            let row = Row::new(target, name).counted(Some(&rule.track));
            Row { rule: path, limit, state, fullest, ..row }
        });
        rules.collect()
    }

    /// The counters of a rule, grouped by the values of one key.
    fn values(&self, domain: &str, rule: &str) -> Vec<Row<'_>> {
        let Some(group) = self.group_key() else { return self.keys() };
        let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
        let mut rest = None;
        for (key, track) in self.usage.keys(&self.place) {
            let Some(value) = value_of(&key.entries, &group) else {
                rest = Some(key_row(key).counted(Some(track)));
                continue;
            };
            let target = || {
                let entry = Entry { key: group.clone(), value: value.to_owned() };
                Target::Value { domain: domain.to_owned(), rule: rule.to_owned(), entry }
            };
            let row = rows.entry(value).or_insert_with(|| Row::new(target(), format!("{group}={value}")));
            row.and_counted(track);
        }
        let mut denying: HashMap<&str, (usize, usize)> = HashMap::new();
        for counter in self.denying_counters() {
            let (all, banned) = denying.entry(value_in(&counter.entries, &group)).or_default();
            *all += 1;
            *banned += usize::from(counter.banned_until.is_some());
        }
        let mut fullest: HashMap<&str, f64> = HashMap::new();
        for counter in self.place_counters().iter().chain(self.denying_counters()) {
            note_fullest(&mut fullest, value_in(&counter.entries, &group), counter);
        }
        for (value, row) in &mut rows {
            row.fullest = fullest.get(value).copied();
            row.state = denying.get(value).map(|(all, banned)| state_of(*all, *banned)).unwrap_or_default();
        }
        rows.into_values().chain(rest).collect()
    }

    /// The key by whose values the counters of the rule are grouped.
    pub(in crate::cli::admin::top) fn group_key(&self) -> Option<String> {
        let keys = self.entry_keys();
        let chosen = self.group_key.clone().filter(|chosen| keys.iter().any(|(key, _)| key == chosen));
        let differs = || keys.iter().find(|(_, differs)| *differs).map(|(key, _)| key.clone());
        chosen.or_else(differs).or_else(|| keys.last().map(|(key, _)| key.clone()))
    }

    /// The entry keys of the rule in their order, and whether their values differ.
    pub(super) fn entry_keys(&self) -> Vec<(String, bool)> {
        let mut known: Vec<(String, &str, bool)> = Vec::new();
        for (key, _) in self.usage.keys(&self.place) {
            for (name, value) in &key.entries {
                match known.iter_mut().find(|(known, ..)| known == name) {
                    Some((_, first, differs)) => *differs |= first != value,
                    None => known.push((name.clone(), value, false)),
                }
            }
        }
        known.into_iter().map(|(key, _, differs)| (key, differs)).collect()
    }

    /// The counters of a value: those that the server lists, and those that it only counts.
    fn counter_rows(&self) -> Vec<Row<'_>> {
        let has_several = self.place_counters().iter().any(|counter| counter.limit_place > 1);
        let listed = self.place_counters().iter().map(|counter| {
            let place = if has_several { format!(" (limit {})", counter.limit_place) } else { String::new() };
            let row = self.row_of_counter(counter);
            Row { name: format!("{}{place}", row.name), ..row }
        });
        let mut rows: Vec<_> = listed.collect();
        for (key, track) in self.usage.keys(&self.place) {
            let is_listed = |row: &Row<'_>| matches!(&row.target, Target::Counter(listed, _) if listed == key);
            if !rows.iter().any(is_listed) {
                rows.push(key_row(key).counted(Some(track)));
            }
        }
        rows
    }

    fn keys(&self) -> Vec<Row<'_>> {
        let mut states: HashMap<(&str, String), &Counter> = HashMap::new();
        for counter in self.place_counters().iter().chain(self.denying_counters()) {
            let known = states.entry((&counter.rule, entries_text(&counter.entries))).or_insert(counter);
            if counter.denied {
                *known = counter;
            }
        }
        let row = |(key, track)| {
            let row = key_row(key).counted(Some(track));
            match states.get(&(&*key.rule, row.name.clone())) {
                Some(counter) => Row { state: self.state_of_counter(counter), fullest: fullness(counter), ..row },
                None => row,
            }
        };
        self.usage.keys(&self.place).map(row).collect()
    }

    fn bans(&self) -> Vec<Row<'_>> {
        let banned = self.denying_counters().iter().filter(|counter| counter.banned_until.is_some());
        banned.map(|counter| self.row_of_counter(counter)).collect()
    }

    fn denied_checks(&self) -> Vec<Row<'_>> {
        self.denials.iter().map(denied_check).collect()
    }

    fn row_of_counter<'m>(&'m self, counter: &'m Counter) -> Row<'m> {
        let key = key_of(counter);
        let track = self.usage.key(&key);
        Row {
            rule: &counter.rule,
            limit: limit_of(counter),
            state: self.state_of_counter(counter),
            fullest: fullness(counter),
            counter: Some(counter),
            ..Row::new(Target::Counter(key, counter.limit_place), entries_text(&counter.entries)).counted(track)
        }
    }

    fn state_of_counter(&self, counter: &Counter) -> String {
        let waiting = self.waiting(counter);
        let denying = match counter {
            Counter { banned_until: Some(until), .. } => {
                let now = self.usage.at().unwrap_or_default();
                let left = prost_types::Duration::try_from(std::time::Duration::from(timestamp(until).since(now)));
                let left = left.map(|left| length(&left)).unwrap_or_default();
                format!("banned {}", left.split(' ').next().unwrap_or_default())
            }
            Counter { denied: true, .. } => "over limit".to_owned(),
            _ if waiting > 0 => format!("{waiting} waiting"),
            _ => String::new(),
        };
        joined(&[&denying, if counter.set { "set" } else { "" }])
    }
}

fn key_row(key: &Key) -> Row<'_> {
    let Key { domain, rule, entries } = key;
    let row = if entries.is_empty() {
        let target = Target::Rest { domain: domain.clone(), rule: rule.clone() };
        Row::new(target, "(not tracked individually)".to_owned())
    } else {
        Row::new(Target::Counter(key.clone(), 0), entries_text(&key.entries()))
    };
    Row { rule, ..row }
}

/// The name of a listed counter.
fn key_of(counter: &Counter) -> Key {
    let entries = counter.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
    Key { domain: counter.domain.clone(), rule: counter.rule.clone(), entries }
}

fn denied_check(denial: &Denial) -> Row<'_> {
    let governing = denial.governing.as_ref();
    let descriptor =
        governing.and_then(|limit| denial.descriptors.iter().find(|descriptor| descriptor.index == limit.descriptor));
    let rule = governing.map(|limit| &*limit.rule).unwrap_or_default();
    let at_ns = denial.time.as_ref().map_or(0, |time| timestamp(time).as_ns());
    let target = Target::Denial { domain: denial.domain.clone(), rule: rule.to_owned(), at_ns };
    let name = descriptor.map(|descriptor| entries_text(&descriptor.entries)).unwrap_or_default();
    let state = if denial.shadow { "shadow" } else { "" };
    Row { rule, state: state.to_owned(), denial: Some(denial), ..Row::new(target, name) }
}

/// `10/1m`; of a request override, whose requests have their own limit, `-`.
fn limit_of(counter: &Counter) -> String {
    match &counter.period {
        None => "-".to_owned(),
        Some(_) if !counter.calendar.is_empty() => format!("{}/{}", counter.limit, counter.calendar),
        Some(period) => format!("{}/{}", counter.limit, length(period)),
    }
}

fn note_fullest<'c>(fullest: &mut HashMap<&'c str, f64>, name: &'c str, counter: &Counter) {
    if let Some(share) = fullness(counter) {
        let most = fullest.entry(name).or_insert(share);
        *most = most.max(share);
    }
}

fn value_of<'k>(entries: &'k [(String, String)], key: &str) -> Option<&'k str> {
    entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn value_in<'c>(entries: &'c [Entry], key: &str) -> &'c str {
    entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str()).unwrap_or_default()
}

/// `2 over limit`, `1 banned`, or both.
fn state_of(denying: usize, banned: usize) -> String {
    let part = |count: usize, what: &str| if count == 0 { String::new() } else { format!("{count} {what}") };
    joined(&[&part(banned, "banned"), &part(denying.saturating_sub(banned), "over")])
}

fn joined(words: &[&str]) -> String {
    words.iter().copied().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
