//! Reloads the rules when they change on disk: a valid configuration takes effect as a whole, an invalid one not at all.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::files::{InForce, Verdict};
use super::{ContentHash, Files, Pace, ReadError, Source, Watch};
use crate::rules::{self, ConfigError, LiftedCounts, LoadOptions, RuleSet, SourceFile};
use crate::runtime::clock::Clock;
use crate::units::Timestamp;

/// Loads the configuration of one [`Source`] at the start, and again whenever it changes.
pub struct Reloader {
    source: Source,
    clock: Arc<Clock>,
    /// Whether the process is in shadow mode, for the log.
    shadow_mode: bool,
    status: ArcSwap<ReloadStatus>,
    /// One load at a time: the watch and a signal may come together.
    work: Mutex<Work>,
}

/// The outcome of all loads so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadStatus {
    /// The generation of the configuration in force: 1 for the first, 0 for none.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: Option<Timestamp>,
    /// The error of the last load, if it failed: then the configuration in force is not the one on disk.
    pub last_error: Option<FailedLoad>,
    /// Loads that succeeded.
    pub successes: u64,
    /// Loads that failed.
    pub failures: u64,
}

/// A load that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLoad {
    /// The time of the load.
    pub at: Timestamp,
    /// The errors, each as `file:line: message`: at most 1,000, then the number of further ones.
    pub errors: Vec<String>,
}

/// A configuration that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its generation, from 1.
    pub generation: u64,
    /// The number of its files.
    pub files: usize,
    /// The number of its domains.
    pub domains: usize,
    /// The number of its rules.
    pub rules: usize,
    /// The number of domains and rules that are switched off.
    pub lifted: LiftedCounts,
}

/// Why a configuration was not loaded. Displayed with one line per error.
#[derive(Debug)]
pub enum LoadError {
    /// The files could not be read.
    Read(ReadError),
    /// The files have errors.
    Rules(Vec<ConfigError>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    /// Each error as one line.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let (read, rules) = match self {
            Self::Read(error) => (Some(error.to_string()), [].as_slice()),
            Self::Rules(errors) => (None, errors.as_slice()),
        };
        read.into_iter().chain(rules.iter().map(ConfigError::to_string))
    }
}

impl Reloader {
    /// A reloader that has not loaded anything yet. `apply` receives each valid configuration, usually to
    /// [replace](crate::limiter::Limiter::replace_rules) the rules in force; it must not call back.
    pub fn new(source: Source, clock: Arc<Clock>, apply: impl FnMut(RuleSet) + Send + 'static) -> Self {
        Self::with_loader(source, clock, rules::load, apply)
    }

    fn with_loader(
        source: Source,
        clock: Arc<Clock>,
        load: impl Fn(&[SourceFile], LoadOptions) -> Result<RuleSet, Vec<ConfigError>> + Send + 'static,
        apply: impl FnMut(RuleSet) + Send + 'static,
    ) -> Self {
        let work =
            Work { load: Box::new(load), apply: Box::new(apply), tried: None, in_force: None, logged: Vec::new() };
        Self { source, clock, shadow_mode: false, status: ArcSwap::default(), work: Mutex::new(work) }
    }

    /// Marks the process as being in shadow mode, which the log then shows at every load.
    #[must_use]
    pub fn with_shadow_mode(self, shadow_mode: bool) -> Self {
        Self { shadow_mode, ..self }
    }

    /// The outcome of all loads so far. Cost: one atomic load; never waits.
    pub fn status(&self) -> Arc<ReloadStatus> {
        self.status.load_full()
    }

    /// Loads for the first time. The outcome is counted; the caller reports it, with [`log`](Self::log) or as an error.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let mut work = self.work.lock();
        let parsed = self.parse(&work, self.source.read());
        self.take(&mut work, parsed)
    }

    /// Loads again because of a signal, even without a change. The outcome is logged. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// All errors of the configuration; the one in force is kept.
    pub fn reload(&self) -> Result<Loaded, LoadError> {
        let mut work = self.work.lock();
        let parsed = self.parse(&work, self.source.read_with_retries());
        let loaded = self.take(&mut work, parsed);
        match &loaded {
            Ok(loaded) => self.log(loaded),
            Err(error) => work.log(error),
        }
        loaded
    }

    /// Logs what was loaded. Fields about what is switched off are left out when nothing is.
    pub fn log(&self, loaded: &Loaded) {
        let Loaded { generation, files, domains, rules, lifted } = loaded;
        let given = |count: usize| (count > 0).then_some(count);
        tracing::info!(
            path = %self.source.path().display(),
            generation,
            files,
            domains,
            rules,
            disabled_domains = given(lifted.disabled_domains),
            disabled_rules = given(lifted.disabled_rules),
            shadow_rules = given(lifted.shadow_rules),
            shadow_mode = self.shadow_mode.then_some(true),
            "configuration loaded"
        );
    }

    /// Loads at every change from now on, until the watch is dropped.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn watch(self: &Arc<Self>, pace: Pace) -> io::Result<Watch> {
        let (reloader, tried) = (self.clone(), self.work.lock().tried);
        let wait = pace.deferral;
        let on_change = move |read, is_stable: bool| reloader.change(read, (!is_stable).then_some(wait));
        Watch::start(self.source.clone(), self.clock.clone(), pace, tried, on_change)
    }

    /// Loads a change that the watch has seen, unless the same content has been tried already because of a signal, or it may be
    /// partially written and can be deferred by `wait`.
    fn change(&self, read: Result<Files, ReadError>, wait: Option<Duration>) -> Verdict {
        let mut work = self.work.lock();
        if read.as_ref().is_ok_and(|files| work.tried == Some(files.hash())) {
            return Verdict::Taken;
        }
        let loaded = self.parse(&work, read);
        if let (Some(wait), Ok((files, rules))) = (wait, &loaded)
            && let Some(suspicion) = work.in_force.as_ref().and_then(|before| before.suspicion(files, rules))
        {
            tracing::warn!(
                "{suspicion}: the file may be partially written; loading it after {wait:?} without further changes (SIGHUP loads it now)"
            );
            return Verdict::Deferred;
        }
        match self.take(&mut work, loaded) {
            Ok(loaded) => self.log(&loaded),
            Err(error) => work.log(&error),
        }
        Verdict::Taken
    }

    fn parse(&self, work: &Work, read: Result<Files, ReadError>) -> Parsed {
        let files = read.map_err(|error| (None, LoadError::Read(error)))?;
        match (work.load)(&files.files, self.source.options()) {
            Ok(rules) => Ok((files, rules)),
            Err(errors) => Err((Some(files.hash()), LoadError::Rules(errors))),
        }
    }

    fn take(&self, work: &mut Work, parsed: Parsed) -> Result<Loaded, LoadError> {
        match parsed {
            Ok((files, rules)) => {
                work.tried = Some(files.hash());
                Ok(self.succeed(work, &files, rules))
            }
            Err((tried, error)) => {
                work.tried = tried;
                self.fail(&error);
                Err(error)
            }
        }
    }

    fn succeed(&self, work: &mut Work, files: &Files, rules: RuleSet) -> Loaded {
        let before = self.status.load();
        let loaded = Loaded {
            generation: before.generation + 1,
            files: files.files.len(),
            domains: rules.domains().count(),
            rules: rules.rules().len(),
            lifted: rules.lifted_counts(),
        };
        for warning in warnings(files, &rules).take(MAX_KEPT_ERRORS) {
            tracing::warn!("{warning}");
        }
        work.in_force = Some(InForce::new(files, &rules));
        (work.apply)(rules);
        work.logged.clear();
        self.status.store(Arc::new(ReloadStatus {
            generation: loaded.generation,
            loaded_at: Some(self.clock.now()),
            last_error: None,
            successes: before.successes + 1,
            failures: before.failures,
        }));
        loaded
    }

    fn fail(&self, error: &LoadError) {
        let mut status = ReloadStatus::clone(&self.status.load());
        status.failures += 1;
        status.last_error = Some(FailedLoad { at: self.clock.now(), errors: kept(error) });
        self.status.store(Arc::new(status));
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("source", &self.source).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Files and their rules, or their errors and the content that was tried.
type Parsed = Result<(Files, RuleSet), (Option<ContentHash>, LoadError)>;

/// A line for each part that loads but is probably a mistake.
pub fn warnings<'l>(files: &'l Files, rules: &'l RuleSet) -> impl Iterator<Item = String> + 'l {
    files.skipped.iter().cloned().chain(rules.warnings().iter().map(ConfigError::to_string))
}

type Load = dyn Fn(&[SourceFile], LoadOptions) -> Result<RuleSet, Vec<ConfigError>> + Send;

/// State for one load at a time.
struct Work {
    load: Box<Load>,
    apply: Box<dyn FnMut(RuleSet) + Send>,
    /// The content that was last tried, good or bad.
    tried: Option<ContentHash>,
    /// Properties of the configuration in force, to compare the next change with.
    in_force: Option<InForce>,
    /// The errors last logged.
    logged: Vec<String>,
}

impl Work {
    /// Logs every error, unless the same errors were logged last.
    fn log(&mut self, error: &LoadError) {
        let errors = kept(error);
        if errors == self.logged {
            return;
        }
        for error in &errors {
            tracing::error!("{error}");
        }
        tracing::error!(errors = error.lines().count(), "reload failed; keeping the current configuration");
        self.logged = errors;
    }
}

/// More errors than that help nobody, and they stay in memory until the next load.
const MAX_KEPT_ERRORS: usize = 1_000;

fn kept(error: &LoadError) -> Vec<String> {
    let mut lines = error.lines();
    let mut errors: Vec<_> = lines.by_ref().take(MAX_KEPT_ERRORS).collect();
    let more = lines.count();
    if more > 0 {
        errors.push(format!("and {more} more errors"));
    }
    errors
}

#[cfg(test)]
mod tests;
