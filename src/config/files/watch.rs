//! Detects changes of the configuration on disk, however they were made.
//!
//! An edit in place, a `mv` over the file, a directory swapped by a link (`current -> v2`) and the `..data` swap of a
//! Kubernetes ConfigMap all change an entry of a directory that the [`DiskState`] names. These directories are watched, and
//! the watches are renewed after each change, because a swap puts other directories in their place. Where events do not
//! arrive (network file systems, no inotify instance left), polling the disk every few seconds detects the change.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::listing::DiskState;
use super::{ContentHash, Files, ReadError, Source};
use crate::runtime::clock::Clock;
use crate::runtime::threads::{Stop, Wait, Waker, Worker};
use crate::units::{Nanos, Timestamp};

/// How soon a change is detected and loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A change is read after this long without further events: most changes cause several.
    pub quiet: Duration,
    /// A change is read at the latest after this long, even if events continue.
    pub longest: Duration,
    /// The time between two polls of the disk.
    pub poll: Duration,
    /// How long a change that may be partially written has to be stable before it is loaded.
    pub deferral: Duration,
    /// Whether file events are used; without them, changes are detected only by polling the disk.
    pub events: bool,
}

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was loaded or rejected.
    Taken,
    /// It may be partially written: it has to be passed again once it is stable.
    Deferred,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(100),
            longest: Duration::from_secs(1),
            poll: Duration::from_secs(5),
            // Longer than copies over a network usually stall; an operator who removes rules can wait that long, or send SIGHUP.
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
    /// Begins to watch. `on_change` is called on the thread of the watch: with the files whenever their content differs from
    /// that of the last call (at first from `loaded`), and once with the error when they can no longer be read. Content that it
    /// defers is passed again, with `true`, once it has been stable for [`Pace::deferral`].
    ///
    /// # Errors
    /// The system cannot start another thread.
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

/// The state of the thread.
struct Guard<'s, F> {
    source: Source,
    clock: Arc<Clock>,
    pace: Pace,
    stop: &'s Stop,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// The content last passed to `on_change`, or the error.
    reported: Option<Result<ContentHash, String>>,
    /// The content that was deferred, and when it is due.
    deferred: Option<(ContentHash, Timestamp)>,
    /// When the current series of deferrals began.
    deferred_since: Option<Timestamp>,
    on_change: F,
}

impl<F: FnMut(Result<Files, ReadError>, bool) -> Verdict> Guard<'_, F> {
    fn run(mut self) {
        // The first check comes at once: the files may have changed between loading and watching.
        loop {
            self.settle();
            if self.stop.is_stopped() {
                return;
            }
            let seen = self.check();
            loop {
                match self.stop.wait(self.next_poll()) {
                    Wait::Elapsed if self.is_good() && !self.is_stable() && self.source.disk_state() == seen => {}
                    Wait::Stopped => return,
                    _ => break,
                }
            }
        }
    }

    /// Whether the files could be read. If not, every poll reads them again: the cause may go away without a visible change.
    fn is_good(&self) -> bool {
        matches!(self.reported, Some(Ok(_)))
    }

    /// The time until the next poll.
    fn next_poll(&self) -> Duration {
        let left = self.deferred.map(|(_, due)| Duration::from(due.since(self.clock.now())));
        left.map_or(self.pace.poll, |left| left.min(self.pace.poll))
    }

    /// Whether deferred content is due.
    fn is_stable(&self) -> bool {
        self.deferred.is_some_and(|(_, due)| self.clock.now() >= due)
    }

    /// Waits until there are no more events and the files no longer change: a file that is rewritten is empty at first.
    fn settle(&self) {
        let begin = self.clock.now();
        let longest = Nanos::from(self.pace.longest);
        let mut before = self.source.disk_state();
        loop {
            let quiet = self.stop.wait(self.pace.quiet) == Wait::Elapsed;
            let now = self.source.disk_state();
            if (quiet && now == before) || self.stop.is_stopped() || self.clock.now().since(begin) >= longest {
                return;
            }
            before = now;
        }
    }

    /// Reads the files and reports a change. The returned state is from before they were read.
    fn check(&mut self) -> DiskState {
        let seen = self.renew_watches();
        let read = self.source.read_with_retries();
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
        // A file that keeps changing must not delay changes of the others for ever.
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

    /// Watches the directories that are on disk now. The state is read after the watches are set, so later changes cause events.
    fn renew_watches(&mut self) -> DiskState {
        let mut seen = self.source.disk_state();
        for _ in 0..WATCH_ATTEMPTS {
            self.watch(&seen.dirs);
            let again = self.source.disk_state();
            if again.dirs == seen.dirs {
                return again;
            }
            seen = again;
        }
        seen
    }

    /// Sets all watches again: a directory with the same name may be a different one.
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
                Err(error) => tracing::debug!(dir = %dir.display(), %error, "directory not watched: it is only polled"),
            }
        }
    }
}

/// At most half of the watches that the system allows a user (8,192 on small machines); other directories are polled.
const MAX_WATCHED: usize = 4_096;

/// After this many deferrals in a row a change is loaded even if files are still changing: by default after a minute, by when
/// any copy has ended.
const MOST_DEFERRALS: u32 = 6;

/// Directories that change before their watch is set usually change once; a tree that keeps changing is polled.
const WATCH_ATTEMPTS: usize = 4;

fn watcher(waker: Waker) -> Option<RecommendedWatcher> {
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| is_change(event.kind)) {
            waker.wake();
        }
    });
    made.inspect_err(|error| tracing::warn!(%error, "file events are not available: polling the configuration")).ok()
}

/// Reading causes events too, and those of our own reading would wake the thread for ever.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
