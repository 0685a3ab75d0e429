//! The task of the process that shares what operators change: it looks several times a second whether others have changed something, and writes
//! what was changed here.
//!
//! ```text
//! every 250 ms, and at once after a change here:
//!   versions ─► parts that others have written, or that were changed here ─► merge ─► written in place of what was read, if that lacks something
//! ```
//! Nothing on the way of a check waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::SharedStore;
use crate::engine_link::{LinkError, Node, PART_EXPIRY, PartVersion, Parts};
use crate::ledger::{Merged, PARTS, RULES_PART, most_bytes};
use crate::runtime::lifecycle::Phases;
use crate::units::Timestamp;

/// What was changed by operators of this process, and what others changed. Called on threads that may block.
pub trait Changes: Send + Sync + 'static {
    /// Merges what the engine has of a part, which comes into force here. `is_first`: the part has not been read since the start.
    ///
    /// # Errors
    /// It cannot be merged, and is not to be written; why, in words.
    fn merge(&self, part: usize, theirs: Option<&str>, is_first: bool) -> Result<Merged, String>;

    /// All that others changed and that can be merged has been merged. Called after each such round.
    fn synchronized(&self, is_first: bool);

    /// Whether anything is known of a part.
    fn is_empty(&self, part: usize) -> bool;
}

/// What is known of sharing changes: written by the task, and by those who change something.
#[derive(Debug)]
pub struct SharedChanges {
    /// How often each part was changed here.
    changed: [AtomicU64; PARTS],
    /// Changes here, over all parts.
    made: AtomicU64,
    wake: Notify,
    state: watch::Sender<ChangesState>,
    failures: AtomicU64,
    adopted: AtomicU64,
    unreadable: AtomicU64,
    /// What went wrong last was logged.
    is_failing: AtomicBool,
    has_tried: AtomicBool,
}

/// How sharing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangesState {
    /// The changes of this process that the engine has.
    pub shared: u64,
    /// When all was last merged and written, by our clock; `None`: never yet.
    pub synchronized: Option<Timestamp>,
}

/// What is counted, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangesCounts {
    /// Changes of this process that the engine does not have.
    pub pending: u64,
    /// Rounds that failed.
    pub failures: u64,
    /// Records of others that were taken over.
    pub adopted: u64,
    /// Records and values that could not be read.
    pub unreadable: u64,
    /// When all was last merged and written, by our clock.
    pub synchronized: Option<Timestamp>,
}

impl Default for SharedChanges {
    fn default() -> Self {
        Self {
            changed: [const { AtomicU64::new(0) }; PARTS],
            made: AtomicU64::new(0),
            wake: Notify::new(),
            state: watch::Sender::default(),
            failures: AtomicU64::new(0),
            adopted: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            has_tried: AtomicBool::new(false),
        }
    }
}

impl SharedChanges {
    /// A part was changed here; the engine gets it at once. To be called after the change.
    pub fn note(&self, part: usize) {
        if let Some(changed) = self.changed.get(part) {
            changed.fetch_add(1, Ordering::SeqCst);
        }
        self.made.fetch_add(1, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Waits until the engine has all that was changed here so far. False: it did not get it `within` that time.
    pub async fn are_shared(&self, within: Duration) -> bool {
        let made = self.made.load(Ordering::SeqCst);
        let mut state = self.state.subscribe();
        // The sender is here.
        timeout(within, state.wait_for(|state| state.shared >= made)).await.is_ok()
    }

    /// Whether that was tried on an engine that answers: it may be impossible, for instance because a right is missing, which is logged.
    pub fn has_tried(&self) -> bool {
        self.has_tried.load(Ordering::Relaxed)
    }

    /// What is counted.
    pub fn counts(&self) -> ChangesCounts {
        let state = *self.state.borrow();
        ChangesCounts {
            pending: self.made.load(Ordering::SeqCst).saturating_sub(state.shared),
            failures: self.failures.load(Ordering::Relaxed),
            adopted: self.adopted.load(Ordering::Relaxed),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            synchronized: state.synchronized,
        }
    }
}

/// Shares changes until the process closes.
pub async fn share_changes(store: Arc<SharedStore>, changes: Arc<dyn Changes>, mut phases: Phases) {
    let mut sharer = Sharer::new(store, changes);
    tokio::select! {
        () = sharer.run() => {}
        () = phases.closing() => {}
    }
}

struct Sharer {
    store: Arc<SharedStore>,
    changes: Arc<dyn Changes>,
    parts: Parts,
    /// Of each part what was last read or written, and how often it had been changed here then; `None`: it has not been read.
    known: Vec<Option<(PartVersion, u64)>>,
    rounds: usize,
    /// Every part that can be merged was merged once.
    has_begun: bool,
    /// Why a part was not merged in this round.
    unmerged: Option<String>,
}

/// Why a round did not end.
enum Failure {
    /// The engine cannot be asked now, which is known and reported elsewhere.
    Down,
    Link(LinkError),
    Merge(String),
    /// Others write all the time.
    Contended,
}

impl Sharer {
    fn new(store: Arc<SharedStore>, changes: Arc<dyn Changes>) -> Self {
        let parts = Parts::new(&store.settings.prefix, PARTS, most_bytes);
        Self { store, changes, parts, known: vec![None; PARTS], rounds: 0, has_begun: false, unmerged: None }
    }

    async fn run(&mut self) {
        loop {
            let shared = Arc::clone(self.store.changes());
            let made = shared.made.load(Ordering::SeqCst);
            match self.whole_round().await {
                Ok(()) => {
                    let synchronized = Some(self.store.clock.now());
                    shared.has_tried.store(true, Ordering::Relaxed);
                    shared.state.send_replace(ChangesState { shared: made, synchronized });
                    if shared.is_failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("changes by operators are shared again");
                    }
                }
                Err(failure) => self.failed(&shared, failure),
            }
            self.rest(&shared).await;
        }
    }

    /// A round in which every part could be merged.
    async fn whole_round(&mut self) -> Result<(), Failure> {
        self.round().await?;
        let (changes, is_first) = (Arc::clone(&self.changes), !std::mem::replace(&mut self.has_begun, true));
        let done = tokio::task::spawn_blocking(move || changes.synchronized(is_first));
        // A panic there is in the log, and this goes on.
        let _done = done.await;
        self.unmerged.take().map_or(Ok(()), |why| Err(Failure::Merge(why)))
    }

    /// Until the next round is due.
    async fn rest(&self, shared: &SharedChanges) {
        tokio::select! {
            () = sleep(STEP) => {}
            () = shared.wake.notified() => {}
        }
    }

    fn failed(&self, shared: &SharedChanges, failure: Failure) {
        shared.failures.fetch_add(1, Ordering::Relaxed);
        let why = match failure {
            Failure::Down => return,
            Failure::Link(error) => {
                if matches!(error.remedy(), crate::engine_link::Remedy::FollowTopology) {
                    self.store.want_refresh();
                }
                error.to_string()
            }
            Failure::Merge(why) => why,
            Failure::Contended => "other replicas write all the time".to_owned(),
        };
        shared.has_tried.store(true, Ordering::Relaxed);
        if !shared.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "changes by operators are not shared: they are in force where they were made");
        }
    }

    /// Reads what others have written, and writes what they lack.
    async fn round(&mut self) -> Result<(), Failure> {
        self.rounds = self.rounds.wrapping_add(1);
        self.unmerged = None;
        let node = self.node().ok_or(Failure::Down)?;
        // The engine may forget a part, which no version shows.
        let looked_at = (self.rounds / ROUNDS_FOR_A_LOOK) % PARTS;
        let is_looked_at = self.rounds.is_multiple_of(ROUNDS_FOR_A_LOOK);
        let versions = self.parts.read(&node, &[]).await.map_err(Failure::Link)?.versions;
        let mut due: Vec<usize> = Vec::new();
        for (part, version) in versions.iter().enumerate() {
            let changed = self.changed(part);
            let is_known = match self.known.get(part).copied().flatten() {
                Some((known, then)) => known == *version && then == changed,
                None => *version == PartVersion::NONE && self.changes.is_empty(part),
            };
            if !is_known || is_looked_at && part == looked_at {
                due.push(part);
            }
        }
        while let Some(part) = due.first().copied() {
            // Long texts come alone.
            let most = if part == RULES_PART { 1 } else { PARTS_AT_ONCE };
            let now: Vec<usize> =
                due.iter().copied().take(most).filter(|due| (*due == RULES_PART) == (most == 1)).collect();
            due.drain(..now.len());
            self.synchronize(&node, now).await?;
        }
        Ok(())
    }

    /// Merges some parts; again while others write them meanwhile.
    async fn synchronize(&mut self, node: &Arc<Node>, mut parts: Vec<usize>) -> Result<(), Failure> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(PAUSE * attempt).await;
            }
            let read = self.parts.read(node, &parts).await.map_err(Failure::Link)?;
            let shared = Arc::clone(self.store.changes());
            shared.unreadable.fetch_add(read.foreign as u64, Ordering::Relaxed);
            let mut again = Vec::new();
            for (part, text) in parts.into_iter().zip(read.texts) {
                let version = read.versions.get(part).copied().unwrap_or(PartVersion::NONE);
                if !self.merge(node, part, version, text).await? {
                    again.push(part);
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            parts = again;
        }
        Err(Failure::Contended)
    }

    /// Merges one part, and writes it if that is needed. False: another replica has written it.
    async fn merge(
        &mut self,
        node: &Arc<Node>,
        part: usize,
        version: PartVersion,
        text: Option<String>,
    ) -> Result<bool, Failure> {
        let changed = self.changed(part);
        let all = Arc::clone(&self.changes);
        let is_first = !self.has_begun;
        let task = tokio::task::spawn_blocking(move || all.merge(part, text.as_deref(), is_first));
        let merged =
            task.await.map_err(|_| Failure::Merge("a change cannot be put in force; see the log".to_owned()))?;
        let Merged { changed: adopted, write, unreadable } = match merged {
            Ok(merged) => merged,
            Err(why) => {
                // The others can be.
                self.unmerged = Some(why);
                return Ok(true);
            }
        };
        let shared = self.store.changes();
        shared.adopted.fetch_add(adopted.len() as u64, Ordering::Relaxed);
        shared.unreadable.fetch_add(unreadable as u64, Ordering::Relaxed);
        let mut present = version;
        if let Some(text) = write {
            present = PartVersion::new(getrandom::u64().unwrap_or_else(|_| self.store.clock.now().as_ns()));
            let expiry = self.store.engine_time(self.store.clock.now()).plus(PART_EXPIRY);
            let written = self.parts.write(node, part, (version, present), &text, expiry).await;
            if !written.map_err(Failure::Link)? {
                return Ok(false);
            }
        }
        if let Some(known) = self.known.get_mut(part) {
            *known = Some((present, changed));
        }
        Ok(true)
    }

    fn changed(&self, part: usize) -> u64 {
        self.store.changes().changed.get(part).map_or(0, |changed| changed.load(Ordering::SeqCst))
    }

    /// The node that has the parts, if it is up.
    fn node(&self) -> Option<Arc<Node>> {
        let routes = self.store.routes.load();
        let at = routes.node_of_slot(self.parts.slot())?;
        routes.nodes().get(at).filter(|node| node.is_up()).cloned()
    }
}

/// Between two looks at the versions: what is changed elsewhere is in force here within a second, also if a look is lost.
const STEP: Duration = Duration::from_millis(250);
/// One part is looked at in so many rounds, whatever its version is: each of them within some minutes.
const ROUNDS_FOR_A_LOOK: usize = 8;
/// Parts that are read in one request: a part may have a megabyte.
const PARTS_AT_ONCE: usize = 8;
/// Writes of one part that others precede, in one round.
const ATTEMPTS: u32 = 8;
/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(5);
