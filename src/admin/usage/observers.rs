//! What all observers share: the server instance, one reading of the usage, and a bounded number of permits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tonic::Status;

use super::entry_keys::counted_by;
use super::page_rows::encode_rows;
use crate::api::proto::tidegate::v1::ServerInstance;
use crate::api::usage::{BadQuestion, LimitsInForce, encode_body, time};
use crate::limiter::{Limiter, Sharing, View};
use crate::runtime::clock::{Clock, Stopwatch};
use crate::units::{Nanos, Timestamp};
use crate::usage::{Changes, Filter, Listener, RuleCounts, RuleName, Scope, Selection, UsageSnapshot};

/// The number of observers, and how many of them are pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observers {
    all: Permits,
    pages: Permits,
}

/// The number of permits that are taken.
#[derive(Clone, Debug, Default)]
struct Permits(Arc<AtomicUsize>);

/// The permit of one observer, released when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Permits);

/// The permit of one page, which is an observer.
#[derive(Debug)]
pub(super) struct PagePermit {
    _observer: Permit,
    _page: Permit,
}

/// The state that all observers share.
#[derive(Debug)]
pub(super) struct Observed {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    observers: Observers,
    instance: ServerInstance,
    /// Measures the time since the start, so that steps of the wall clock do not count as missed reports.
    stopwatch: Stopwatch,
    reading: Mutex<Option<Reading>>,
    /// What pages were last sent, the latest at the end. A page that is later than that is sent everything again, so that slow
    /// pages do not keep old readings.
    sent: Mutex<VecDeque<Arc<Sent>>>,
}

/// The usage at one moment. Observers whose reports are due at the same time share a reading, and those with the same scope
/// share the encoded report.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    begun: Nanos,
    pub(super) at: Timestamp,
    usage: Arc<UsageSnapshot>,
    limits: Arc<LimitsInForce>,
    body: Arc<Mutex<Vec<EncodedBody>>>,
    pages: Arc<Mutex<Vec<EncodedPage>>>,
}

/// What pages were sent.
#[derive(Debug)]
pub(super) struct Sent {
    begun: Nanos,
    usage: Arc<UsageSnapshot>,
    limits: Arc<LimitsInForce>,
}

/// The rows of a reading for pages with the same filter that were last sent the same reading.
#[derive(Debug)]
struct EncodedPage {
    filter: Filter,
    sent: Option<Nanos>,
    encoded: Bytes,
}

/// The encoded part of a reading for observers with the same scope.
#[derive(Debug)]
struct EncodedBody {
    scope: Scope,
    encoded: Bytes,
}

impl Reading {
    /// The encoded part of this reading for an observer with that scope.
    pub(super) fn body(&self, scope: &Scope) -> Bytes {
        let mut body = self.body.lock();
        if let Some(same) = body.iter().find(|body| body.scope == *scope) {
            return same.encoded.clone();
        }
        let encoded = encode_body(&Selection::new(&self.usage, scope), &self.limits);
        if body.len() < MAX_SHARED {
            body.push(EncodedBody { scope: scope.clone(), encoded: encoded.clone() });
        }
        encoded
    }

    /// The rows of this reading for a page that was last `sent` an earlier one, as a part of a JSON object.
    pub(super) fn page_rows(&self, filter: &Filter, sent: Option<&Sent>) -> Bytes {
        let mut pages = self.pages.lock();
        let last = sent.map(|sent| sent.begun);
        if let Some(same) = pages.iter().find(|page| page.sent == last && page.filter == *filter) {
            return same.encoded.clone();
        }
        let has_other_limits = |row: &RuleCounts| {
            sent.is_none_or(|sent| sent.limits.of_rule(&row.rule.path) != self.limits.of_rule(&row.rule.path))
        };
        let before = sent.map(|sent| &*sent.usage);
        let changes = Changes::new(&self.usage, before, filter, MAX_PAGE_TOP, has_other_limits);
        let encoded = encode_rows(&changes, &self.limits);
        if pages.len() < MAX_SHARED {
            pages.push(EncodedPage { filter: filter.clone(), sent: last, encoded: encoded.clone() });
        }
        encoded
    }
}

impl Permits {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, if there are fewer than `most`.
    fn take(&self, most: usize) -> Option<Permit> {
        let one_more = |count| Some(count + 1).filter(|count| *count <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Permit(self.clone()))
    }
}

impl Observers {
    /// The current number of observers, pages included.
    pub(crate) fn count(&self) -> usize {
        self.all.count()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Observed {
    pub(super) fn new(limiter: Arc<Limiter>, clock: Arc<Clock>, observers: Observers, id: String) -> Self {
        let started = clock.now();
        let instance = ServerInstance { id, started: Some(time(started)), replicas: 0 };
        let stopwatch = Stopwatch::start();
        Self { limiter, clock, observers, instance, stopwatch, reading: Mutex::default(), sent: Mutex::default() }
    }

    /// A permit for one more observer.
    pub(super) fn permit(&self) -> Result<Permit, Status> {
        self.observers.all.take(MAX_OBSERVERS).ok_or_else(|| too_many("observers", MAX_OBSERVERS))
    }

    /// A permit for one more page.
    pub(super) fn page_permit(&self) -> Result<PagePermit, Status> {
        let page = self.observers.pages.take(MAX_PAGES).ok_or_else(|| too_many("pages", MAX_PAGES))?;
        Ok(PagePermit { _observer: self.permit()?, _page: page })
    }

    /// The process, with the replicas that there are now.
    pub(super) fn instance(&self) -> ServerInstance {
        let replicas = self.limiter.sharing().map_or(0, Sharing::replicas);
        ServerInstance { replicas, ..self.instance.clone() }
    }

    pub(super) fn is_instance(&self, id: &str) -> bool {
        self.instance.id == id
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Nanos {
        self.stopwatch.elapsed()
    }

    /// The usage, read at `due` or later.
    pub(super) fn read(&self, due: Nanos) -> Reading {
        let mut last = self.reading.lock();
        if let Some(reading) = last.as_ref().filter(|reading| reading.begun >= due) {
            return reading.clone();
        }
        let begun = self.elapsed();
        let usage = Arc::new(self.limiter.usage().snapshot());
        let limits = self.limiter.view().as_ref().and_then(View::plan).map(LimitsInForce::of).unwrap_or_default();
        let (at, limits) = (self.clock.now(), Arc::new(limits));
        last.insert(Reading { begun, at, usage, limits, body: Arc::default(), pages: Arc::default() }).clone()
    }

    /// Keeps a reading that a page is sent, for as long as it is one of the latest.
    pub(super) fn keep_sent(&self, reading: Reading) -> Weak<Sent> {
        let mut kept = self.sent.lock();
        if let Some(same) = kept.iter().find(|sent| sent.begun == reading.begun) {
            return Arc::downgrade(same);
        }
        if kept.len() >= MAX_SENT {
            kept.pop_front();
        }
        let sent = Arc::new(Sent { begun: reading.begun, usage: reading.usage, limits: reading.limits });
        let weak = Arc::downgrade(&sent);
        kept.push_back(sent);
        weak
    }

    /// Drops what is kept for pages, if the one that ends is the last.
    pub(super) fn page_ends(&self) {
        if self.observers.pages.count() <= 1 {
            self.sent.lock().clear();
        }
    }

    pub(super) fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// The usage now.
    pub(super) fn snapshot(&self) -> Arc<UsageSnapshot> {
        self.read(self.elapsed()).usage
    }

    /// Listens to denied checks from now on.
    pub(super) fn listen(&self) -> Listener {
        self.limiter.usage().denials().listen()
    }

    /// As [`listen`](Self::listen), beginning with what is still kept for others.
    pub(super) fn listen_to_kept(&self) -> Listener {
        self.limiter.usage().denials().listen_to_kept()
    }

    pub(super) fn has_domain(&self, name: &str) -> bool {
        self.limiter.view().as_ref().and_then(View::rules).is_some_and(|rules| rules.domain(name).is_some())
    }

    /// The keys, if requests are counted by all of them.
    pub(super) fn counted_by(&self, domain: Option<&str>, keys: Vec<String>) -> Result<Vec<String>, BadQuestion> {
        let missing = keys.iter().find_map(|key| Some((key, counted_by(&self.limiter, domain, key).err()?)));
        match missing {
            Some((key, known)) => Err(BadQuestion::NotCounted { key: key.clone(), known }),
            None => Ok(keys),
        }
    }

    /// Whether this is the path of the request overrides in any domain.
    pub(super) fn is_of_overrides(&self, path: &str) -> bool {
        let view = self.limiter.view();
        let rules = view.as_ref().and_then(View::rules);
        rules.is_some_and(|rules| rules.domains().any(|domain| RuleName::for_overrides(&domain.name).path == path))
    }

    pub(super) fn is_of_overrides_in(&self, path: &str, domain: &str) -> bool {
        self.has_domain(domain) && RuleName::for_overrides(domain).path == path
    }
}

fn too_many(what: &str, most: usize) -> Status {
    Status::resource_exhausted(format!("too many {what}, at most {most} are allowed: try again later"))
}

/// Encoded parts of one reading that are kept for observers with the same scope: dashboards use few scopes.
const MAX_SHARED: usize = 16;
/// Observers at the same time. A report costs about a millisecond, so that many observers with ten reports a second use one
/// core; a team with dashboards has a tenth of them.
const MAX_OBSERVERS: usize = 128;
/// Pages that show the usage at the same time: a quarter of the observers, so that open tabs leave room for programs.
const MAX_PAGES: usize = 32;
/// Readings that are kept to compare the next ones with: pages that keep up need one or two.
const MAX_SENT: usize = 4;
/// Counters of a page by each of its rankings: more than it shows at once.
const MAX_PAGE_TOP: usize = 100;
