//! What all observers share: the server instance, one reading of the usage, and a bounded number of permits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tonic::Status;

use super::entry_keys::counted_by;
use crate::api::proto::tidegate::v1::ServerInstance;
use crate::api::usage::{BadQuestion, LimitsInForce, encode_body, time};
use crate::limiter::{Limiter, View};
use crate::runtime::clock::{Clock, Stopwatch};
use crate::units::{Nanos, Timestamp};
use crate::usage::{Listener, RuleName, Scope, Selection, UsageSnapshot};

/// The number of observers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observers(Arc<AtomicUsize>);

/// The permit of one observer, released when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Observers);

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
}

impl Observers {
    /// The current number of observers.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn permit(&self) -> Option<Permit> {
        let one_more = |count| Some(count + 1).filter(|count| *count <= MAX_OBSERVERS);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Permit(self.clone()))
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
        let instance = ServerInstance { id, started: Some(time(started)) };
        Self { limiter, clock, observers, instance, stopwatch: Stopwatch::start(), reading: Mutex::default() }
    }

    /// A permit for one more observer.
    pub(super) fn permit(&self) -> Result<Permit, Status> {
        let full = || {
            Status::resource_exhausted(format!(
                "too many observers, at most {MAX_OBSERVERS} are allowed: try again later"
            ))
        };
        self.observers.permit().ok_or_else(full)
    }

    pub(super) fn instance(&self) -> &ServerInstance {
        &self.instance
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
        last.insert(Reading { begun, at: self.clock.now(), usage, limits: Arc::new(limits), body: Arc::default() })
            .clone()
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

/// Encoded parts of one reading that are kept for observers with the same scope: dashboards use few scopes.
const MAX_SHARED: usize = 16;
/// Observers at the same time. A report costs about a millisecond, so that many observers with ten reports a second use one
/// core; a team with dashboards has a tenth of them.
const MAX_OBSERVERS: usize = 128;
