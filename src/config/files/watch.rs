//! Notices that the configuration on disk has changed, however it was changed.
//!
//! An edit in place, a `mv` over the file, a directory swapped by a link (`current -> v2`) and the `..data` swap of a
//! Kubernetes ConfigMap all change an entry of a directory that the [`Look`] names: those directories are watched, and
//! watched again after each change, because a swap puts other directories in their place. Where events do not arrive
//! (network file systems, no inotify instance left), a look every few seconds does.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::listing::{Look, look};
use super::{ContentHash, Files, ReadError, Source};
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Stop, Wait, Waker, Worker};
use crate::units::{Nanos, Timestamp};

/// How soon a change is noticed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A change is read once nothing has happened for this long: most changes are several events.
    pub quiet: Duration,
    /// But a change is read at the latest after this long, though events go on.
    pub longest: Duration,
    /// The time between looks at the disk.
    pub poll: Duration,
    /// How long a change that may be partially written has to be stable before it is loaded.
    pub deferral: Duration,
    /// Whether the system is asked for events; without, there are only the looks.
    pub events: bool,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was loaded or rejected.
    Taken,
    /// It may be partially written: it is to be shown again once it is stable.
    Deferred,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(100),
            longest: Duration::from_secs(1),
            poll: Duration::from_secs(5),
            // Longer than copies over a network usually stall; an operator who removes rules can wait so long, or send SIGHUP.
            deferral: Duration::from_secs(10),
            events: true,
        }
    }
}

/// A running watch: one thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    _worker: Worker,
}

impl Watch {
    /// Begins to watch. `on_change` is called on the watch's own thread, with the files whenever their content differs from
    /// the last that it (or `loaded`) reported, and with the error when they can no longer be read, once. Content that it
    /// defers is shown to it again, with `true`, once it has been stable for [`Pace::deferral`].
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(
        source: Source,
        clock: Arc<Clock>,
        pace: Pace,
        loaded: Option<ContentHash>,
        on_change: impl FnMut(Result<Files, ReadError>, bool) -> Verdict + Send + 'static,
    ) -> io::Result<Self> {
        let run = move |stop: &Stop| {
            Guard {
                source,
                clock,
                pace,
                stop,
                watcher: pace.events.then(|| watcher(stop.waker())).flatten(),
                watched: BTreeSet::new(),
                reported: loaded.map(Ok),
                deferred: None,
                deferred_since: None,
                on_change,
            }
            .run();
        };
        Ok(Self { _worker: Worker::spawn("config-watch", run)? })
    }
}

/// What the thread owns.
struct Guard<'s, F> {
    source: Source,
    clock: Arc<Clock>,
    pace: Pace,
    stop: &'s Stop,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// The content last reported, or the error.
    reported: Option<Result<ContentHash, String>>,
    /// The content that was deferred, and when it is due.
    deferred: Option<(ContentHash, Timestamp)>,
    /// Since when one content after the other has been deferred.
    deferred_since: Option<Timestamp>,
    on_change: F,
}

impl<F: FnMut(Result<Files, ReadError>, bool) -> Verdict> Guard<'_, F> {
    fn run(mut self) {
        // The first check comes at once: between loading and watching, something may have changed.
        loop {
            self.settle();
            if self.stop.is_stopped() {
                return;
            }
            let seen = self.check();
            loop {
                match self.stop.wait(self.next_look()) {
                    Wait::Elapsed if self.is_good() && !self.is_stable() && look(self.source.path()) == seen => {}
                    Wait::Stopped => return,
                    _ => break,
                }
            }
        }
    }

    /// Whether the files could be read. While they cannot, every poll reads them: the cause need not be visible on disk.
    fn is_good(&self) -> bool {
        matches!(self.reported, Some(Ok(_)))
    }

    /// How long nothing need be looked at.
    fn next_look(&self) -> Duration {
        let left = self.deferred.map(|(_, due)| Duration::from(due.since(self.clock.now())));
        left.map_or(self.pace.poll, |left| left.min(self.pace.poll))
    }

    /// Whether deferred content is due.
    fn is_stable(&self) -> bool {
        self.deferred.is_some_and(|(_, due)| self.clock.now() >= due)
    }

    /// Waits until events cease and the files no longer change: a file that is being written is first emptied.
    fn settle(&self) {
        let begin = self.clock.now();
        let longest = Nanos::from(self.pace.longest);
        let mut before = look(self.source.path());
        loop {
            let quiet = self.stop.wait(self.pace.quiet) == Wait::Elapsed;
            let now = look(self.source.path());
            if (quiet && now == before) || self.stop.is_stopped() || self.clock.now().since(begin) >= longest {
                return;
            }
            before = now;
        }
    }

    /// Reads the files and returns what is new. The look that is returned was taken before the reading.
    fn check(&mut self) -> Look {
        let seen = self.watch_anew();
        let read = self.source.read_patiently();
        let new = match &read {
            Ok(files) => Ok(files.hash()),
            Err(error) => Err(error.to_string()),
        };
        if self.reported.as_ref() == Some(&new) {
            self.deferred = None;
            self.deferred_since = None;
        } else if !self.stop.is_stopped() {
            self.show(read, new);
        }
        seen
    }

    fn show(&mut self, read: Result<Files, ReadError>, new: Result<ContentHash, String>) {
        let known = self.deferred.filter(|(content, _)| new.as_ref() == Ok(content));
        let now = self.clock.now();
        // A file that never rests must not keep the others out of force.
        let longest = Nanos::from(self.pace.deferral.saturating_mul(MOST_DEFERRALS));
        let is_overdue = self.deferred_since.is_some_and(|since| now.since(since) >= longest);
        let is_stable = is_overdue || known.is_some() && self.is_stable();
        if known.is_some() && !is_stable {
            return;
        }
        match ((self.on_change)(read, is_stable), new) {
            (Verdict::Deferred, Ok(content)) => {
                self.deferred_since.get_or_insert(now);
                self.deferred = Some((content, now.plus(self.pace.deferral.into())));
            }
            (_, new) => {
                self.deferred = None;
                self.deferred_since = None;
                self.reported = Some(new);
            }
        }
    }

    /// Watches what is on disk now. The look comes after the watching: what changes later makes an event.
    fn watch_anew(&mut self) -> Look {
        let mut seen = look(self.source.path());
        for _ in 0..WATCH_ATTEMPTS {
            self.watch(&seen.dirs);
            let again = look(self.source.path());
            if again.dirs == seen.dirs {
                return again;
            }
            seen = again;
        }
        seen
    }

    /// Every watch is made again: a directory of the same name may be another one.
    fn watch(&mut self, dirs: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for dir in std::mem::take(&mut self.watched) {
            let _ = watcher.unwatch(&dir);
        }
        for dir in dirs.iter().take(MAX_WATCHED) {
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(dir.clone());
                }
                Err(error) => tracing::debug!(dir = %dir.display(), %error, "not watched, only polled"),
            }
        }
    }
}

/// Of the watches that the system grants a user (8,192 on small machines), at most half; what is not watched is polled.
const MAX_WATCHED: usize = 4_096;

/// Deferrals in a row after which a change is loaded although files go on changing: a minute by default, by which any
/// copy has ended.
const MOST_DEFERRALS: u32 = 6;

/// Directories that change between looking and watching do so once; a tree in constant change is left to the poll.
const WATCH_ATTEMPTS: usize = 4;

fn watcher(waker: Waker) -> Option<RecommendedWatcher> {
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| is_change(event.kind)) {
            waker.wake();
        }
    });
    made.inspect_err(|error| tracing::warn!(%error, "no file events: the configuration is polled")).ok()
}

/// Reading makes events too; our own would wake us for ever.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
