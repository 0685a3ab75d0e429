//! What each key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Mode, Model, Page};
use crate::api::proto::tidegate::v1::{Entry, SettingScope};
use crate::cli::admin::top::action::Action;
use crate::cli::admin::top::form::Form;
use crate::cli::admin::top::place::Place;
use crate::cli::admin::top::row::Target;
use crate::cli::admin::top::words::{limits_text, state_of_limits};

impl Model {
    /// Does what a key is for.
    pub(in crate::cli::admin::top) fn key(&mut self, key: KeyEvent) {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            self.has_quit = true;
            return;
        }
        match std::mem::take(&mut self.mode) {
            Mode::Browse => self.browse(key.code),
            Mode::Filter => self.type_filter(key.code),
            Mode::Form(form) => self.fill_in(form, key.code),
            Mode::Confirm(action) => self.answer(action, key.code),
            Mode::Help => {}
        }
    }

    fn browse(&mut self, key: KeyCode) {
        self.message = None;
        match key {
            KeyCode::Char('q') => self.has_quit = true,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Char('s') => self.sort = self.sort.next(false),
            KeyCode::Char('S') => self.sort = self.sort.next(true),
            KeyCode::Char('i') => self.reversed = !self.reversed,
            KeyCode::Char('t') => self.totals = !self.totals,
            KeyCode::Char('e') => self.next_group_key(),
            KeyCode::Char(digit @ '1'..='4') => self.open_page(page_of(digit)),
            KeyCode::Up | KeyCode::Char('k') => self.select(|at, _| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(|at, _| at + 1),
            KeyCode::PageUp => self.select(|at, _| at.saturating_sub(SCREEN)),
            KeyCode::PageDown => self.select(|at, _| at + SCREEN),
            KeyCode::Home => self.select(|_, _| 0),
            KeyCode::End => self.select(|_, count| count),
            KeyCode::Enter | KeyCode::Right => self.open(),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.back(),
            KeyCode::Char(action @ ('b' | 'c' | 'o' | 'r' | 'u' | 'x')) => self.act(action),
            _ => {}
        }
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        self.say(if self.paused { "paused: nothing here changes until p is pressed" } else { "goes on" });
    }

    fn select(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let rows = self.rows();
        let at = to(self.selected_of(&rows), rows.len()).min(rows.len().saturating_sub(1));
        let target = rows.get(at).map(|row| row.target.clone());
        (self.cursor, self.selected) = (at, target);
    }

    fn target(&self) -> Option<Target> {
        let rows = self.rows();
        rows.get(self.selected_of(&rows)).map(|row| row.target.clone())
    }

    fn open(&mut self) {
        let place = match self.target() {
            Some(Target::Domain(domain)) => Place::Domain(domain),
            Some(Target::Rule { domain, rule } | Target::Denial { domain, rule, .. }) => Place::Rule { domain, rule },
            Some(Target::Value { domain, rule, entry }) => Place::Value { domain, rule, entry },
            Some(Target::Counter(key, _)) => match key.entries().pop() {
                Some(entry) => Place::Value { domain: key.domain, rule: key.rule, entry },
                None => return,
            },
            Some(Target::Rest { .. }) => return self.say("these counters are only counted together (--usage-series)"),
            None => return,
        };
        if place == self.place && self.page == Page::Usage {
            return;
        }
        self.open_page(Page::Usage);
        self.go(place);
    }

    fn back(&mut self) {
        if !self.filter.is_empty() {
            self.filter.clear();
        } else if self.page != Page::Usage {
            self.open_page(Page::Usage);
        } else if let Some(up) = self.place.up() {
            self.go(up);
        }
    }

    fn next_group_key(&mut self) {
        if self.page != Page::Usage || !matches!(self.place, Place::Rule { .. }) {
            return self.say("e groups the counters of a rule by another entry: open a rule first");
        }
        let keys = self.entry_keys();
        let current = self.group_key();
        let at = keys.iter().position(|(key, _)| Some(key) == current.as_ref());
        let next = at.map_or(0, |at| (at + 1) % keys.len().max(1));
        self.group_key = keys.into_iter().nth(next).map(|(key, _)| key);
        (self.selected, self.cursor) = (None, 0);
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => return,
            KeyCode::Esc => return self.filter.clear(),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.len() < MAX_FILTER_BYTES => self.filter.push(c),
            _ => {}
        }
        (self.selected, self.cursor) = (None, 0);
        self.mode = Mode::Filter;
    }

    fn fill_in(&mut self, mut form: Form, key: KeyCode) {
        form.error.clear();
        match key {
            KeyCode::Esc => return self.say("cancelled: nothing was changed"),
            KeyCode::Tab | KeyCode::Down => form.next(),
            KeyCode::Backspace => form.backspace(),
            KeyCode::Char(c) => form.add(c),
            KeyCode::Enter => match form.action() {
                Ok(action) => return self.mode = Mode::Confirm(action),
                Err(error) => form.error = error,
            },
            _ => {}
        }
        self.mode = Mode::Form(form);
    }

    fn answer(&mut self, action: Action, key: KeyCode) {
        match key {
            KeyCode::Char('y' | 'Y') => {
                self.say("asking the server ...");
                self.confirmed = Some(action);
            }
            KeyCode::Char('n' | 'N') | KeyCode::Esc => self.say("cancelled: nothing was changed"),
            // No other key may mean yes or no.
            _ => self.mode = Mode::Confirm(action),
        }
    }

    /// Asks for what an action needs, or whether to do it.
    fn act(&mut self, key: char) {
        if self.is_acting || self.confirmed.is_some() {
            return self.complain("the server has not answered to the last change yet");
        }
        let Some(target) = self.target() else { return self.complain("nothing is selected") };
        let asked = match key {
            'b' => self.ban(&target),
            'r' => counters_of(&target).map(|(rule, entries)| Mode::Confirm(Action::Reset { rule, entries })),
            'u' => counters_of(&target).map(|(rule, entries)| Mode::Confirm(Action::Unban { rule, entries })),
            'c' => self.change_limit(&target),
            'o' => self.switch(&target),
            _ => self.unset(&target),
        };
        match asked {
            Ok(mode) => self.mode = mode,
            Err(why) => self.complain(why),
        }
    }

    fn ban(&self, target: &Target) -> Result<Mode, &'static str> {
        let (rule, entries) = counters_of(target)?;
        let entries = match target {
            Target::Counter(..) => entries,
            _ => self
                .only_counter(&rule, &entries)
                .ok_or("a ban is of one counter: press enter until counters are shown")?,
        };
        Ok(Mode::Form(Form::ban(rule, entries)))
    }

    /// The entries of the counter of a rule with some entries, if only one is known.
    fn only_counter(&self, rule: &str, entries: &[Entry]) -> Option<Vec<Entry>> {
        let known = self.usage.keys(&self.place).filter(|(key, _)| key.rule == rule).map(|(key, _)| key.entries());
        let mut with = known.filter(|known| entries.iter().all(|entry| known.contains(entry)));
        let only = with.next()?;
        with.next().is_none().then_some(only).filter(|only| !only.is_empty())
    }

    fn change_limit(&self, target: &Target) -> Result<Mode, &'static str> {
        let (rule, entries) = counters_of(target)?;
        let (limits, now) = self.in_force(&rule);
        let limit = match target {
            Target::Counter(_, place) if limits > 1 => *place,
            _ => 0,
        };
        let scope = SettingScope { rule, entries, limit, ..SettingScope::default() };
        Ok(Mode::Form(Form::limit(scope, if limit == 0 { limits } else { 1 }, now)))
    }

    fn switch(&self, target: &Target) -> Result<Mode, &'static str> {
        let scope = scope_of(target)?;
        if let Target::Domain(domain) = target {
            let place = Place::Domain(domain.clone());
            let mut limits = self.usage.rules(&place).flat_map(|(_, rule)| &rule.limits).peekable();
            let is_off = limits.peek().is_some() && limits.all(|limit| !limit.enabled);
            return Ok(Mode::Form(Form::switch(scope, is_off, String::new())));
        }
        let (_, now) = self.in_force(&scope.rule);
        let limits = self.usage.rule(&scope.rule).map(|rule| &*rule.limits).unwrap_or_default();
        let is_off = !limits.is_empty() && limits.iter().all(|limit| !limit.enabled);
        Ok(Mode::Form(Form::switch(scope, is_off, now)))
    }

    fn unset(&self, target: &Target) -> Result<Mode, &'static str> {
        let scope = scope_of(target)?;
        let limits = self.usage.rule(&scope.rule).map(|rule| &*rule.limits).unwrap_or_default();
        let is_off = scope.rule.is_empty() || limits.iter().any(|limit| !limit.enabled);
        Ok(Mode::Form(Form::unset(scope, if is_off { "enabled" } else { "requests_per_unit" })))
    }

    /// How many limits a rule has, and what is in force, in words.
    fn in_force(&self, rule: &str) -> (usize, String) {
        let limits = self.usage.rule(rule).map(|rule| &*rule.limits).unwrap_or_default();
        let state = state_of_limits(limits);
        let state = if state.is_empty() { state } else { format!(" ({state})") };
        (limits.len(), format!("{}{state}", limits_text(limits)))
    }
}

/// What a setting for a target applies to.
fn scope_of(target: &Target) -> Result<SettingScope, &'static str> {
    if let Target::Domain(domain) = target {
        return Ok(SettingScope { domain: domain.clone(), ..SettingScope::default() });
    }
    let (rule, entries) = counters_of(target)?;
    Ok(SettingScope { rule, entries, ..SettingScope::default() })
}

/// The rule and the entries of the counters that a target has.
fn counters_of(target: &Target) -> Result<(String, Vec<Entry>), &'static str> {
    match target {
        Target::Rule { rule, .. } => Ok((rule.clone(), Vec::new())),
        Target::Value { rule, entry, .. } => Ok((rule.clone(), vec![entry.clone()])),
        Target::Counter(key, _) => Ok((key.rule.clone(), key.entries())),
        Target::Domain(_) => Err("select a rule, a value or a counter: enter opens the domain"),
        Target::Rest { .. } => Err("these counters are only counted together: select the rule"),
        Target::Denial { .. } => Err("enter opens the rule of a denied check, where it can be acted on"),
    }
}

fn page_of(digit: char) -> Page {
    let at = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(1);
    Page::ALL.get(at.saturating_sub(1)).map_or(Page::Usage, |(page, _)| *page)
}

/// Rows that a page key moves by.
const SCREEN: usize = 8;
/// More than any name that is looked for.
const MAX_FILTER_BYTES: usize = 60;
