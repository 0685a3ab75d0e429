//! Puts configurations and settings in force, whatever source they come from, and keeps how that went.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::candidate::{CandidateError, CandidateRules, CandidateState};
use super::settings::{AdoptedSetting, EffectiveValue, SetOutcome, Setting, SettingChange, SettingError, SettingsBook};
use crate::rules::{LiftedCounts, Overlay, RuleSet, Scope, SettingName};
use crate::units::Timestamp;

/// The one place from which configurations and settings come into force, as one value.
///
/// A source of rules (files, a control plane) loads, and hands over what it loaded, or its errors.
pub(crate) struct Publisher {
    status: ArcSwap<ReloadStatus>,
    state: Mutex<State>,
    /// When the next setting expires, in nanoseconds since the epoch: most of the time nothing is due.
    next_expiry_ns: AtomicU64,
}

/// What is in force, and how it is put there.
struct State {
    apply: Box<Apply>,
    rules: Option<Arc<RuleSet>>,
    settings: SettingsBook,
    candidate: CandidateState,
    /// The rules of the source, while those of a promoted candidate are in force.
    under_promotion: Option<(usize, Arc<RuleSet>)>,
    /// The number of files of the rules in force.
    files: usize,
}

/// Rules with the settings over them.
pub(crate) type RulesInForce<'a> = (&'a Arc<RuleSet>, &'a Overlay);

/// Puts rules in force, and the candidate next to them.
type Apply = dyn FnMut(RulesInForce<'_>, Option<RulesInForce<'_>>) + Send;

/// How loading has gone so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReloadStatus {
    /// The number of the configuration in force: 1 for the first, 0 for none.
    pub(crate) generation: u64,
    /// The failure since then, if the last load failed: the configuration in force is not that of the source.
    pub(crate) last_error: Option<FailedLoad>,
    /// Loads that succeeded.
    pub(crate) successes: u64,
    /// Loads that failed.
    pub(crate) failures: u64,
}

/// A load that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedLoad {
    /// Every error, `file:line: message`; of more than 1,000 the first, and how many more there are.
    pub(crate) errors: Vec<String>,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The number of this configuration, from 1.
    pub(crate) generation: u64,
    /// Its files.
    pub(crate) files: usize,
    /// Its domains.
    pub(crate) domains: usize,
    /// Its rules.
    pub(crate) rules: usize,
    /// What of it is switched off.
    pub(crate) lifted: LiftedCounts,
    /// Settings, in force or not.
    pub(crate) settings: usize,
}

impl Loaded {
    /// Logs what was loaded, and from where. What is switched off has fields of its own, which are not there when nothing is.
    pub(crate) fn log(&self, path: &dyn fmt::Display, shadow_mode: bool) {
        let Self { generation, files, domains, rules, lifted, settings } = self;
        let given = |count: usize| (count > 0).then_some(count);
        tracing::info!(
            %path,
            generation,
            files,
            domains,
            rules,
            disabled_domains = given(lifted.disabled_domains),
            disabled_rules = given(lifted.disabled_rules),
            shadow_rules = given(lifted.shadow_rules),
            settings = given(*settings),
            shadow_mode = shadow_mode.then_some(true),
            "configuration loaded"
        );
    }
}

impl Publisher {
    /// Nothing is in force yet. `apply` receives each configuration with its settings, usually to
    /// [put them in force](crate::limiter::Limiter::put_in_force); it must not call back.
    pub(crate) fn new(
        settings: SettingsBook,
        apply: impl FnMut(RulesInForce<'_>, Option<RulesInForce<'_>>) + Send + 'static,
    ) -> Self {
        let next_expiry_ns = AtomicU64::new(expiry_ns(&settings));
        let state = State {
            apply: Box::new(apply),
            rules: None,
            settings,
            candidate: CandidateState::default(),
            under_promotion: None,
            files: 0,
        };
        Self { status: ArcSwap::default(), state: Mutex::new(state), next_expiry_ns }
    }

    /// How loading has gone so far. Cost: one atomic load; never waits.
    pub(crate) fn status(&self) -> Arc<ReloadStatus> {
        self.status.load_full()
    }

    /// Puts the rules of that many files in force, and the settings over them.
    pub(crate) fn publish(&self, files: usize, rules: RuleSet) -> Loaded {
        let mut state = self.state.lock();
        (state.candidate.promoted, state.under_promotion) = (None, None);
        let loaded = self.replace(&mut state, files, Arc::new(rules));
        let before = self.status.load();
        self.status.store(Arc::new(ReloadStatus {
            generation: loaded.generation,
            last_error: None,
            successes: before.successes + 1,
            failures: before.failures,
        }));
        loaded
    }

    fn replace(&self, state: &mut State, files: usize, rules: Arc<RuleSet>) -> Loaded {
        let before = self.status.load();
        state.settings.lay_over(&rules);
        let loaded = Loaded {
            generation: before.generation + 1,
            files,
            domains: rules.domains().count(),
            rules: rules.rules().len(),
            lifted: rules.lifted_counts(state.settings.overlay()),
            settings: state.settings.list().count(),
        };
        (state.rules, state.files) = (Some(rules), files);
        state.apply();
        loaded
    }

    /// Counts a load that failed; the configuration in force stays.
    pub(crate) fn reject(&self, errors: Vec<String>) {
        let _one_at_a_time = self.state.lock();
        let mut status = ReloadStatus::clone(&self.status.load());
        status.failures += 1;
        status.last_error = Some(FailedLoad { errors });
        self.status.store(Arc::new(status));
    }

    /// Sets a value, which takes effect between two checks, and counts as set at `set_at`. `keep` is called with the setting before anything else can change.
    /// Returns what came of it.
    ///
    /// # Errors
    /// The setting would have no effect, or there are too many. Then nothing has changed.
    pub(crate) fn set(
        &self,
        (now, set_at): (Timestamp, Timestamp),
        change: SettingChange,
        keep: impl FnOnce(&Setting, &str),
    ) -> Result<SetOutcome, SettingError> {
        let mut state = self.state.lock();
        let rules = state.rules.clone().ok_or(SettingError::NoRules)?;
        let before = state.settings.effective(&rules, &change.scope, change.name)?.value;
        let replaced = state.settings.get(&change.scope, change.name).cloned();
        let setting = state.settings.set(&rules, now, set_at, change)?;
        state.apply();
        self.note_expiry(&state);
        keep(&setting, &before);
        let off = state.settings.ineffective(&rules, &setting);
        Ok(SetOutcome { setting, before, replaced, off })
    }

    /// Removes a setting. `keep` is called with it before anything else can change. Returns it, and the value that is effective
    /// now.
    ///
    /// # Errors
    /// There is no such setting.
    pub(crate) fn unset(
        &self,
        scope: &Scope,
        name: SettingName,
        keep: impl FnOnce(&Setting, &str),
    ) -> Result<(Setting, String), SettingError> {
        let mut state = self.state.lock();
        let rules = state.rules.clone().ok_or(SettingError::NoRules)?;
        let setting = state.settings.unset(&rules, scope, name)?;
        state.apply();
        self.note_expiry(&state);
        // A setting whose rule has vanished can still be removed; then there is no value.
        let value = state.settings.effective(&rules, scope, name).map(|now| now.value).unwrap_or_default();
        keep(&setting, &value);
        Ok((setting, value))
    }

    /// Sets and removes what other replicas have set and removed, between two checks. Each value that is effective afterwards is given to
    /// `keep`, before anything else can change, with the one before; empty: there is none.
    pub(crate) fn adopt(&self, changes: Vec<AdoptedSetting>, keep: impl FnOnce(Vec<(AdoptedSetting, String, String)>)) {
        let mut state = self.state.lock();
        let rules = state.rules.clone();
        let effective = |state: &State, change: &AdoptedSetting| {
            let (scope, name) = match change {
                AdoptedSetting::Set(setting) => (&setting.scope, setting.name),
                AdoptedSetting::Unset(scope, name) => (scope, *name),
            };
            let rules = rules.as_ref()?;
            state.settings.effective(rules, scope, name).ok().map(|now| now.value)
        };
        let before: Vec<_> = changes.iter().map(|change| effective(&state, change).unwrap_or_default()).collect();
        state.settings.adopt(rules.as_deref(), changes.clone());
        state.apply();
        self.note_expiry(&state);
        let after = changes.iter().map(|change| effective(&state, change).unwrap_or_default()).collect::<Vec<_>>();
        keep(changes.into_iter().zip(before).zip(after).map(|((change, old), new)| (change, old, new)).collect());
    }

    /// Settings have the order of their times from now on, as replicas that share them need it.
    pub(crate) fn order_settings_by_time(&self) {
        self.state.lock().settings.order_by_time();
    }

    /// Removes the settings that have expired. `keep` is called with them, each with the value that is effective now, before
    /// anything else can change. Cost: one atomic load if there is none.
    pub(crate) fn expire(&self, now: Timestamp, keep: impl FnOnce(&[(Setting, String)])) {
        if now.as_ns() < self.next_expiry_ns.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        let Some(rules) = state.rules.clone() else { return };
        let expired = state.settings.expire(&rules, now);
        self.note_expiry(&state);
        if expired.is_empty() {
            return;
        }
        state.apply();
        let with_value = |setting: Setting| {
            let value = state.settings.effective(&rules, &setting.scope, setting.name);
            (setting, value.map(|now| now.value).unwrap_or_default())
        };
        keep(&expired.into_iter().map(with_value).collect::<Vec<_>>());
    }

    /// The effective value of a name in a scope.
    ///
    /// # Errors
    /// The scope does not fit the rules in force.
    pub(crate) fn effective(&self, scope: &Scope, name: SettingName) -> Result<EffectiveValue, SettingError> {
        let state = self.state.lock();
        let rules = state.rules.as_ref().ok_or(SettingError::NoRules)?;
        state.settings.effective(rules, scope, name)
    }

    /// Reads the settings and the rules in force, which do not change meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&SettingsBook, Option<&Arc<RuleSet>>) -> T) -> T {
        let state = self.state.lock();
        read(&state.settings, state.rules.as_ref())
    }

    /// Starts a candidate. `first` is called before anything else can change.
    ///
    /// # Errors
    /// One runs.
    pub(crate) fn start_candidate<T>(
        &self,
        candidate: CandidateRules,
        first: impl FnOnce() -> T,
    ) -> Result<T, CandidateError> {
        let mut state = self.state.lock();
        if state.candidate.running.is_some() {
            return Err(CandidateError::Running);
        }
        state.settings.lay_over_candidate(Some(Arc::clone(&candidate.rules)));
        state.candidate.running = Some(candidate);
        state.apply();
        Ok(first())
    }

    /// Puts the candidate in force. Returns what was loaded, and the candidate.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn promote_candidate(&self, now: Timestamp) -> Result<(Loaded, CandidateRules), CandidateError> {
        let mut state = self.state.lock();
        let candidate = state.candidate.running.take().ok_or(CandidateError::NotRunning)?;
        let candidate = CandidateRules { since: now, ..candidate };
        state.settings.lay_over_candidate(None);
        Ok((self.promote(&mut state, candidate.clone()), candidate))
    }

    /// Puts the candidate of another replica in force. One that runs here goes on.
    pub(crate) fn promote_rules(&self, candidate: CandidateRules) -> Loaded {
        self.promote(&mut self.state.lock(), candidate)
    }

    /// Puts the rules of the source in force again, in place of those of a promoted candidate; `None`: they are.
    pub(crate) fn withdraw_promotion(&self) -> Option<Loaded> {
        let mut state = self.state.lock();
        let (files, rules) = state.under_promotion.take()?;
        state.candidate.promoted = None;
        let loaded = self.replace(&mut state, files, rules);
        self.count_generation(loaded);
        Some(loaded)
    }

    /// What the rules of the source were read from ([`RuleSet::source`]); `None`: there are none.
    pub(crate) fn source(&self) -> Option<[u8; 32]> {
        let state = self.state.lock();
        state.under_promotion.as_ref().map(|(_, rules)| rules).or(state.rules.as_ref()).map(|rules| *rules.source())
    }

    fn promote(&self, state: &mut State, candidate: CandidateRules) -> Loaded {
        if state.under_promotion.is_none() {
            state.under_promotion = state.rules.clone().map(|rules| (state.files, rules));
        }
        let (files, rules) = (candidate.files.len(), Arc::clone(&candidate.rules));
        state.candidate.promoted = Some(candidate);
        let loaded = self.replace(state, files, rules);
        self.count_generation(loaded);
        loaded
    }

    /// Nothing was loaded: what is wrong with the source still is.
    fn count_generation(&self, loaded: Loaded) {
        let status = ReloadStatus { generation: loaded.generation, ..ReloadStatus::clone(&self.status.load()) };
        self.status.store(Arc::new(status));
    }

    /// Ends the candidate. `last` is called while it still runs.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn stop_candidate<T>(&self, last: impl FnOnce(&CandidateRules) -> T) -> Result<T, CandidateError> {
        let mut state = self.state.lock();
        let answer = last(state.candidate.running.as_ref().ok_or(CandidateError::NotRunning)?);
        state.candidate.running = None;
        state.settings.lay_over_candidate(None);
        state.apply();
        Ok(answer)
    }

    /// The candidate that runs, and the one that is in force.
    pub(crate) fn candidate(&self) -> CandidateState {
        self.state.lock().candidate.clone()
    }

    fn note_expiry(&self, state: &State) {
        self.next_expiry_ns.store(expiry_ns(&state.settings), Ordering::Relaxed);
    }
}

impl State {
    fn apply(&mut self) {
        let Some(rules) = &self.rules else { return };
        (self.apply)((rules, self.settings.overlay()), self.settings.candidate());
    }
}

fn expiry_ns(settings: &SettingsBook) -> u64 {
    settings.next_expiry().map_or(u64::MAX, Timestamp::as_ns)
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("status", &self.status).finish_non_exhaustive()
    }
}
