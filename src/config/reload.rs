//! Reloads the rules when they change on disk: a valid configuration takes effect as a whole, an invalid one not at all.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::files::{InForce, Verdict};
use super::publish::{Loaded, Publisher};
use super::{ContentHash, Files, Pace, ReadError, Source, Watch};
use crate::rules::{ConfigError, LoadOptions, RuleSet, SourceFile};
use crate::runtime::clock::Clock;

/// Loads the configuration of one [`Source`], at the start and whenever it changes.
pub(crate) struct Reloader {
    source: Source,
    clock: Arc<Clock>,
    /// Whether the process is in shadow mode, for the log.
    shadow_mode: bool,
    publisher: Arc<Publisher>,
    /// One load at a time: the watch and a signal may come together.
    work: Mutex<Work>,
}

/// Why a configuration was not loaded. Shown, it has one line per error.
#[derive(Debug)]
pub(crate) enum LoadError {
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
    /// Each error on a line.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let (read, rules) = match self {
            Self::Read(error) => (Some(error.to_string()), [].as_slice()),
            Self::Rules(errors) => (None, errors.as_slice()),
        };
        read.into_iter().chain(rules.iter().map(ConfigError::to_string))
    }
}

impl Reloader {
    /// A reloader that has not loaded anything yet, loads rules by `load`, and hands over to `publisher`.
    pub(crate) fn new(
        source: Source,
        clock: Arc<Clock>,
        load: impl Fn(&[SourceFile], LoadOptions) -> Result<RuleSet, Vec<ConfigError>> + Send + 'static,
        publisher: Arc<Publisher>,
    ) -> Self {
        let work = Work { load: Box::new(load), tried: None, in_force: None, logged: Vec::new() };
        Self { source, clock, shadow_mode: false, publisher, work: Mutex::new(work) }
    }

    /// Marks the process as being in shadow mode, which the log then shows at every load.
    #[must_use]
    pub(crate) fn with_shadow_mode(self, shadow_mode: bool) -> Self {
        Self { shadow_mode, ..self }
    }

    /// Loads for the first time. The outcome is counted, but the caller reports it: with [`log`](Self::log), or as an error.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        let mut work = self.work.lock();
        let parsed = self.parse(&work, self.source.read());
        self.finish(&mut work, parsed)
    }

    /// Loads again because of a signal, even without a change. The outcome is logged. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// All errors of the configuration; the one in force is kept.
    pub(crate) fn reload(&self) -> Result<Loaded, LoadError> {
        let mut work = self.work.lock();
        let parsed = self.parse(&work, self.source.read_with_retries());
        let loaded = self.finish(&mut work, parsed);
        match &loaded {
            Ok(loaded) => self.log(loaded),
            Err(error) => work.log(error),
        }
        loaded
    }

    /// Logs what was loaded.
    pub(crate) fn log(&self, loaded: &Loaded) {
        loaded.log(&self.source.path().display(), self.shadow_mode);
    }

    /// Loads at every change from now on, until the watch is dropped.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn watch(self: &Arc<Self>, pace: Pace) -> io::Result<Watch> {
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
        // A signal may have loaded a later content since the watch read this one; the watch will see that, too.
        if let (Ok(files), Ok(current)) = (&read, self.source.read())
            && files.hash() != current.hash()
        {
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
        match self.finish(&mut work, loaded) {
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

    fn finish(&self, work: &mut Work, parsed: Parsed) -> Result<Loaded, LoadError> {
        match parsed {
            Ok((files, rules)) => {
                work.tried = Some(files.hash());
                Ok(self.succeed(work, &files, rules))
            }
            Err((tried, error)) => {
                work.tried = tried;
                self.publisher.reject(kept(&error));
                Err(error)
            }
        }
    }

    fn succeed(&self, work: &mut Work, files: &Files, rules: RuleSet) -> Loaded {
        for warning in warnings(files, &rules).take(MAX_KEPT_ERRORS) {
            tracing::warn!("{warning}");
        }
        work.in_force = Some(InForce::new(files, &rules));
        work.logged.clear();
        self.publisher.publish(files.files.len(), rules)
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("source", &self.source)
            .field("publisher", &self.publisher)
            .finish_non_exhaustive()
    }
}

/// Files and their rules, or their errors and the content that was tried.
type Parsed = Result<(Files, RuleSet), (Option<ContentHash>, LoadError)>;

/// A line for each part that loads but is probably a mistake.
pub(crate) fn warnings<'l>(files: &'l Files, rules: &'l RuleSet) -> impl Iterator<Item = String> + 'l {
    files.skipped.iter().cloned().chain(rules.warnings().iter().map(ConfigError::to_string))
}

type Load = dyn Fn(&[SourceFile], LoadOptions) -> Result<RuleSet, Vec<ConfigError>> + Send;

/// State for one load at a time.
struct Work {
    load: Box<Load>,
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
