//! A live feed of every denied check for listeners: observers, the denial log, alerts.
//!
//! The decision path only offers denials. Without a listener an offer costs one load. With listeners, up to [`PER_TICK`]
//! denials in each tick are kept in a ring, and further ones are only counted. Each listener reads at its own pace, and
//! receives the number of denials that the ring has lost in the meantime. Totals do not depend on any of this.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::calendar::Calendar;
use crate::engine::Reason;
use crate::units::{Nanos, Timestamp};

/// One denied check: its answer was OVER_LIMIT, or would have been without shadow mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The time of the decision.
    pub at: Timestamp,
    /// The domain.
    pub domain: String,
    /// The descriptors, in their order. If they are many or long, only a part, which includes that of the governing limit.
    pub descriptors: Vec<DeniedDescriptor>,
    /// The number of entries that are left out of `descriptors`.
    pub entries_omitted: u32,
    /// The governing limit: of the limits that denied, the one with the longest wait.
    pub governing: DeniedLimit,
    /// The other limits that denied, in the order of descriptors; at most 16.
    pub others: Vec<DeniedLimit>,
    /// The number of limits that denied and are left out of `others`.
    pub limits_omitted: u32,
    /// The check was admitted because of shadow mode.
    pub shadow: bool,
}

/// A descriptor of a denied check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeniedDescriptor {
    /// Its index in the check, from 0.
    pub index: usize,
    /// Its entries, key and value; long ones are cut.
    pub entries: Vec<(String, String)>,
}

/// A limit that denied a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedLimit {
    /// The configured path of its rule; see [`super::RuleName::for_overrides`].
    pub rule: String,
    /// The index of the descriptor that it limits, from 0.
    pub descriptor: usize,
    /// The hits that the descriptor requested.
    pub hits: u64,
    /// The limit, in hits per `period`.
    pub requests_per_unit: u32,
    /// The length of its window.
    pub period: Nanos,
    /// The calendar that its windows follow; then the period is the length of the present one.
    pub calendar: Option<&'static Calendar>,
    /// The reason.
    pub reason: Reason,
    /// The time until it admits the same hits.
    pub retry_after: Nanos,
}

impl Denial {
    /// Every limit that denied, the governing one first.
    pub fn limits(&self) -> impl Iterator<Item = &DeniedLimit> {
        std::iter::once(&self.governing).chain(&self.others)
    }

    /// Whether the check has this entry.
    pub fn has_entry(&self, entry: &(String, String)) -> bool {
        self.descriptors.iter().any(|descriptor| descriptor.entries.contains(entry))
    }

    /// The value of a key: in the descriptor of `limit`, otherwise the first one in the check.
    pub fn value(&self, limit: &DeniedLimit, key: &str) -> Option<&str> {
        let own = self.descriptors.iter().filter(|descriptor| descriptor.index == limit.descriptor);
        let mut entries = own.chain(&self.descriptors).flat_map(|descriptor| &descriptor.entries);
        entries.find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

/// The feed of denials.
#[derive(Debug)]
pub struct Denials {
    listeners: AtomicUsize,
    /// The number of further denials in this tick.
    room: AtomicU32,
    /// Denials above the rate, which no listener receives.
    skipped: AtomicU64,
    ring: Mutex<Ring>,
}

/// The latest denials; `first` is the number of the oldest one.
#[derive(Debug, Default)]
struct Ring {
    first: u64,
    kept: VecDeque<Arc<Denial>>,
}

/// Reads denials from its creation on.
#[derive(Debug)]
pub struct Listener {
    denials: Arc<Denials>,
    next: u64,
    skipped: u64,
}

impl Default for Denials {
    /// Denials are accepted before the first tick too, so that those right after the start are reported.
    fn default() -> Self {
        Self {
            listeners: AtomicUsize::new(0),
            room: AtomicU32::new(PER_TICK),
            skipped: AtomicU64::new(0),
            ring: Mutex::default(),
        }
    }
}

impl Denials {
    /// Whether there is a listener.
    pub fn is_watched(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// Offers a denial; `make` is called only if there is a listener and the rate allows it.
    pub fn offer(&self, make: impl FnOnce() -> Option<Denial>) {
        if !self.is_watched() {
            return;
        }
        let took = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        if took.is_err() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Some(denial) = make().map(Arc::new) else { return };
        let mut ring = self.ring.lock();
        if ring.kept.len() >= RING {
            ring.kept.pop_front();
            ring.first += 1;
        }
        ring.kept.push_back(denial);
    }

    /// Begins a new tick, in which [`PER_TICK`] denials are accepted.
    pub fn tick(&self) {
        self.accept_for(Duration::from_millis(TICK_MS));
    }

    /// Accepts as many denials as in the ticks of `length`, and at least those of one tick, until the next call. Called regularly while the
    /// process runs: every [`TICK_MS`] if there is a listener.
    pub fn accept_for(&self, length: Duration) {
        let ticks = u32::try_from(length.as_millis() / u128::from(TICK_MS)).unwrap_or(u32::MAX);
        self.room.store(PER_TICK.saturating_mul(ticks.max(1)), Ordering::Relaxed);
    }

    /// Denials since the start that were above the rate, so that no listener received them.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Listens from now on, until the listener is dropped.
    pub fn listen(self: &Arc<Self>) -> Listener {
        self.listen_from(|ring| ring.first + ring.kept.len() as u64)
    }

    /// As [`listen`](Self::listen), beginning with the denials that are still kept for other listeners.
    pub fn listen_to_kept(self: &Arc<Self>) -> Listener {
        self.listen_from(|ring| ring.first)
    }

    fn listen_from(self: &Arc<Self>, next: impl FnOnce(&Ring) -> u64) -> Listener {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        let next = next(&self.ring.lock());
        Listener { denials: Arc::clone(self), next, skipped: self.skipped() }
    }
}

impl Listener {
    /// The denials since the last call, at most `most`, oldest first, and the number of denials that were lost since then.
    pub fn poll(&mut self, most: usize) -> (Vec<Arc<Denial>>, u64) {
        let skipped = self.denials.skipped();
        let mut lost = skipped - self.skipped;
        self.skipped = skipped;
        let ring = self.denials.ring.lock();
        if ring.first > self.next {
            lost += ring.first - self.next;
            self.next = ring.first;
        }
        let from = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
        let taken: Vec<_> = ring.kept.iter().skip(from).take(most).cloned().collect();
        drop(ring);
        self.next += taken.len() as u64;
        (taken, lost)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.denials.listeners.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut ring = self.denials.ring.lock();
            ring.first += ring.kept.len() as u64;
            ring.kept = VecDeque::new();
        }
    }
}

/// Denials that are kept for listeners, about 700 bytes each and at most 8 KiB: a third of a second at the highest rate.
const RING: usize = 16_384;
/// Denials in one tick: 50,000 a second, more than a person or a log can use.
const PER_TICK: u32 = 500;
/// The length of a tick in milliseconds.
pub const TICK_MS: u64 = 10;

/// A limit of 1 per second that denied the first descriptor.
#[cfg(test)]
pub(crate) fn limit_for_tests(rule: &str) -> DeniedLimit {
    DeniedLimit {
        rule: rule.into(),
        descriptor: 0,
        hits: 1,
        requests_per_unit: 1,
        period: Nanos::SECOND,
        calendar: None,
        reason: Reason::OverLimit,
        retry_after: Nanos::SECOND,
    }
}

/// A check with one descriptor that a rule denied.
#[cfg(test)]
pub(crate) fn denial_for_tests(domain: &str, rule: &str, entries: &[(&str, &str)]) -> Denial {
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Denial {
        at: Timestamp::EPOCH,
        domain: domain.into(),
        descriptors: vec![DeniedDescriptor { index: 0, entries }],
        entries_omitted: 0,
        governing: limit_for_tests(rule),
        others: Vec::new(),
        limits_omitted: 0,
        shadow: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(hits: u64) -> Denial {
        Denial { governing: DeniedLimit { hits, ..limit_for_tests("d.k") }, ..denial_for_tests("d", "d.k", &[]) }
    }

    fn hits(taken: &[Arc<Denial>]) -> Vec<u64> {
        taken.iter().map(|denial| denial.governing.hits).collect()
    }

    #[test]
    fn nobody_listens_and_nothing_is_made() {
        let denials = Arc::new(Denials::default());
        denials.tick();
        denials.offer(|| panic!("made for nobody"));
        let mut listener = denials.listen();
        assert_eq!(listener.poll(9), (Vec::new(), 0));
        drop(listener);
        denials.offer(|| panic!("made for nobody"));
    }

    #[test]
    fn each_listener_reads_at_its_own_pace() {
        let denials = Arc::new(Denials::default());
        denials.tick();
        let mut early = denials.listen();
        (0..3).for_each(|n| denials.offer(|| Some(denial(n))));
        let mut late = denials.listen();
        (3..5).for_each(|n| denials.offer(|| Some(denial(n))));
        assert_eq!(hits(&early.poll(2).0), [0, 1]);
        assert_eq!(hits(&early.poll(9).0), [2, 3, 4]);
        assert_eq!(hits(&late.poll(9).0), [3, 4]);
    }

    #[test]
    fn what_is_kept_for_others_can_be_read_later() {
        let denials = Arc::new(Denials::default());
        assert_eq!(denials.listen_to_kept().poll(9), (Vec::new(), 0), "nothing is kept while nobody listens");
        let _other = denials.listen();
        (0..3).for_each(|n| denials.offer(|| Some(denial(n))));
        let mut late = denials.listen_to_kept();
        denials.offer(|| Some(denial(3)));
        let (taken, lost) = late.poll(9);
        assert_eq!((hits(&taken), lost), (vec![0, 1, 2, 3], 0));
    }

    #[test]
    fn a_long_rest_accepts_as_many_as_its_ticks() {
        let denials = Arc::new(Denials::default());
        let mut listener = denials.listen();
        for (ms, ticks) in [(0, 1), (9, 1), (10, 1), (29, 2), (100, 10)] {
            denials.accept_for(Duration::from_millis(ms));
            (0..=PER_TICK * ticks).for_each(|n| denials.offer(|| Some(denial(n.into()))));
            let (taken, lost) = listener.poll(usize::MAX);
            assert_eq!((taken.len(), lost), ((PER_TICK * ticks) as usize, 1), "{ms} ms");
        }
    }

    #[test]
    fn what_is_above_the_rate_or_lost_in_the_ring_is_reported_as_a_number() {
        let denials = Arc::new(Denials::default());
        let mut listener = denials.listen();
        (0..PER_TICK).for_each(|n| denials.offer(|| Some(denial(n.into()))));
        denials.offer(|| panic!("there is no room left, though no tick has begun yet"));
        let (taken, lost) = listener.poll(usize::MAX);
        assert_eq!((taken.len(), lost), (PER_TICK as usize, 1));
        let ticks = RING / PER_TICK as usize + 1;
        for _ in 0..ticks {
            denials.tick();
            (0..=PER_TICK).for_each(|n| denials.offer(|| Some(denial(n.into()))));
        }
        let (taken, lost) = listener.poll(usize::MAX);
        assert_eq!(taken.len(), RING);
        assert_eq!(lost, (ticks * (PER_TICK as usize + 1) - RING) as u64);
    }
}
