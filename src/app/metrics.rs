//! Fills the snapshot of the metrics from the counts that the decision path keeps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::store::store_values;
use super::tls::Tls;
use crate::access::ClientFile;
use crate::admin::{Guard, Observers};
use crate::alerts;
use crate::config::Publisher;
use crate::history::History;
use crate::limiter::{Limiter, RuleInForce, View};
use crate::net::{self, ConnectionLimit, TlsServer};
use crate::operations::Operations;
use crate::recording::Recordings;
use crate::rules::{Rule, RuleLimit, RuleSet, ScopeTarget};
use crate::runtime::clock::Clock;
use crate::runtime::resident_bytes;
use crate::service::DelayedReplies;
use crate::sharing::SharedStore;
use crate::state::StateStatus;
use crate::store::WhenFull;
use crate::telemetry::{
    AlertValues, ConfigValues, ConnectionValues, CounterValues, DecisionTimes, EntryRequests, HistoryValues,
    LimitValue, ObservingValues, RuleSeries, Snapshot, StateValues, StatsdStatus, SweepValues, TlsValues, XdsValues,
};
use crate::usage::{RequestCounts, SeriesUsage};
use crate::xds::XdsStatus;

/// Where the values are.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) limiter: Arc<Limiter>,
    /// The store of shared counters, if there is one.
    pub(super) store: Option<Arc<SharedStore>>,
    /// How writing the counters goes, if they are.
    pub(super) state: Option<Arc<Mutex<StateStatus>>>,
    pub(super) config: Arc<Publisher>,
    /// How it goes with the control plane, if there is one.
    pub(super) xds: Option<Arc<XdsStatus>>,
    pub(super) operations: Arc<Operations>,
    pub(super) clock: Arc<Clock>,
    pub(super) history: Arc<History>,
    pub(super) delayed: DelayedReplies,
    pub(super) observers: Observers,
    /// Of each port.
    pub(super) connection_limit: Vec<ConnectionLimit>,
    pub(super) guard: Arc<Guard>,
    /// Which client may check which domains, if that is distinguished.
    pub(super) clients: Option<Arc<ClientFile>>,
    pub(super) tls: Tls,
    pub(super) times: Arc<DecisionTimes>,
    pub(super) recordings: Arc<Recordings>,
    pub(super) alerts: Arc<alerts::DeliveryCounts>,
    /// How pushing to a statsd goes, if that is done.
    pub(super) statsd: Option<Arc<StatsdStatus>>,
    /// Denials that were dropped before the denial log could process them.
    pub(super) log_lost: Arc<AtomicU64>,
}

impl Sources {
    /// All values as they are now. Cost: a sum over the worker slots of every series.
    pub(super) fn snapshot(&self) -> Snapshot {
        let usage = self.limiter.usage();
        let (requests, errors) = usage.requests();
        Snapshot {
            rules: merged(usage.series_usage().into_iter().map(rule)),
            requests_by_entry: usage.requests_by_entry().iter().map(entry_requests).collect(),
            domains_not_found: usage.unknown_domains(),
            domains_forbidden: usage.forbidden_domains(),
            errors: vec![("service_error", errors)],
            requests: vec![("ShouldRateLimit", requests)],
            global_shadow_mode: usage.global_shadow(),
            overrides_ignored: usage.overrides_ignored(),
            config: ConfigValues::from(&*self.config.status()),
            xds: self.xds.as_ref().map(|xds| self.xds(xds)),
            counters: self.counters(),
            sweep: self.sweep(),
            connections: self.connections(),
            observing: self.observing(),
            delayed_replies: self.delayed.count() as u64,
            clock_ahead: self.clock.ahead(),
            history: self.history(),
            state: self.state(),
            store: self
                .store
                .as_ref()
                .map(|store| store_values(store, &self.limiter, &self.operations, self.clock.now())),
            limits: self.limits(),
            lifted: self.lifted(),
            shadow_mode: self.limiter.view().is_some_and(|view| view.in_global_shadow()),
            settings: self.settings(),
            saturation: self.saturation(),
            decisions: self.times.times(),
            denials_dropped: vec![("log", self.log_lost.load(Ordering::Relaxed)), ("alerts", self.alerts.lost())],
            alerts: AlertValues { fired: self.alerts.fired(), deliveries: self.alerts.deliveries().to_vec() },
            statsd: self.statsd.as_ref().map(|statsd| statsd.values()),
            resident_bytes: resident_bytes(),
            tls: self.tls.all().iter().map(tls_values).collect(),
            tls_on_plain_ports: net::tls_on_plain_ports(),
            admin_rejected: self.guard.failed.counts().by_reason(),
            tokens_outdated: self.guard.tokens.as_ref().is_some_and(|tokens| tokens.is_outdated()),
            clients_outdated: self.clients.as_ref().is_some_and(|clients| clients.is_outdated()),
        }
    }

    /// The limits in force. Two rules with the same path share one series, as in all metrics.
    fn limits(&self) -> Vec<LimitValue> {
        let Some(view) = self.limiter.view() else { return Vec::new() };
        let Some(plan) = view.plan() else { return Vec::new() };
        let mut paths = HashSet::new();
        let limits_of = |RuleInForce { rule, .. }| {
            let enabled = rule.limits.iter().filter(|limit| limit.enabled);
            enabled.map(|limit| limit_value(rule, limit)).collect::<Vec<_>>()
        };
        let in_force = plan.rules_in_force().filter(|rule| rule.domain_enabled);
        in_force.filter(|rule| paths.insert(&*rule.configured.path)).flat_map(limits_of).collect()
    }

    /// The number of settings in force, by domain and rule; both are empty for settings of everything.
    fn settings(&self) -> Vec<(String, String, u64)> {
        let view = self.limiter.view();
        let rules = view.as_ref().and_then(View::rules).map(RuleSet::rules).unwrap_or_default();
        let domains: HashMap<&str, &str> = rules.iter().map(|rule| (&*rule.path, &*rule.domain)).collect();
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        self.operations.read_settings(|book| {
            for setting in book.list().filter(|setting| book.why_inactive(setting).is_none()) {
                let labels = match &setting.scope.target {
                    ScopeTarget::Everything => (String::new(), String::new()),
                    ScopeTarget::Domain(name) => (name.clone(), String::new()),
                    ScopeTarget::Rule(path) => {
                        (domains.get(&**path).copied().unwrap_or_default().to_owned(), path.clone())
                    }
                };
                *counts.entry(labels).or_default() += 1;
            }
        });
        counts.into_iter().map(|((domain, rule), count)| (domain, rule, count)).collect()
    }

    /// Rules whose limits are lifted, by domain and reason.
    fn lifted(&self) -> Vec<(String, &'static str, u64)> {
        let view = self.limiter.view();
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for lifted in view.as_ref().map(View::lifted).unwrap_or_default() {
            *counts.entry((lifted.domain, lifted.lift.name())).or_default() += lifted.rules as u64;
        }
        counts.into_iter().map(|((domain, reason), rules)| (domain.to_owned(), reason, rules)).collect()
    }

    fn xds(&self, xds: &XdsStatus) -> XdsValues {
        let received = xds.received();
        XdsValues {
            connected: xds.is_connected(),
            streams: xds.streams(),
            failures: xds.failures(),
            acks: xds.acks(),
            nacks: xds.nacks(),
            outdated: xds.outdated(),
            missing: xds.missing(),
            set: received.map(|set| (set.version.clone(), self.clock.now().since(set.at))),
        }
    }

    fn saturation(&self) -> Vec<(String, String, f64)> {
        let rules = self.limiter.usage().saturation(self.clock.now());
        rules.into_iter().map(|(rule, share)| (rule.domain.clone(), rule.path.clone(), share)).collect()
    }

    fn counters(&self) -> CounterValues {
        let occupancy = self.limiter.store().occupancy();
        let (denied, admitted) = match self.limiter.settings().when_full {
            WhenFull::Deny => (occupancy.no_room, 0),
            WhenFull::Allow => (0, occupancy.no_room),
        };
        CounterValues {
            live: occupancy.counters as u64,
            bytes: occupancy.bytes as u64,
            budget_bytes: occupancy.budget_bytes as u64,
            denied,
            admitted,
        }
    }

    fn sweep(&self) -> SweepValues {
        let stats = self.limiter.store().sweep_stats();
        SweepValues { passes: stats.passes, freed: stats.freed, longest_pause: stats.longest_pause }
    }

    fn history(&self) -> HistoryValues {
        let status = self.history.status();
        HistoryValues {
            rows: status.rows,
            bytes: status.bytes,
            flushes: status.flushes,
            failures: status.failures,
            last_flush_age: self.clock.now().since(status.last_flush),
        }
    }

    fn state(&self) -> StateValues {
        let Some(state) = &self.state else { return StateValues::default() };
        let status = state.lock().clone();
        StateValues {
            restored: status.restored,
            dropped: status.dropped,
            damaged: (status.damage.len() + usize::from(status.settings_damage.is_some())) as u64,
            flushes: status.flushes,
            failures: status.failures,
            failing: status.failure.is_some(),
            bytes: status.bytes,
            counters: status.counters,
            last_flush_age: self.clock.now().since(status.last_flush),
            last_duration: status.last_duration,
        }
    }

    fn observing(&self) -> ObservingValues {
        let usage = self.limiter.usage();
        let (series, series_limit) = usage.series_used();
        let (recorded, recording_lost) = self.recordings.totals();
        ObservingValues {
            observers: self.observers.count() as u64,
            denials_skipped: usage.denials().skipped(),
            series: series as u64,
            series_limit: series_limit as u64,
            entry_values: usage.entry_values_used() as u64,
            recordings: self.recordings.running() as u64,
            recorded,
            recording_lost,
        }
    }

    fn connections(&self) -> ConnectionValues {
        ConnectionValues {
            open: self.connection_limit.iter().map(|connection_limit| connection_limit.open() as u64).sum(),
            rejected: self.connection_limit.iter().map(ConnectionLimit::rejected).sum(),
            closed: self.connection_limit.iter().flat_map(ConnectionLimit::closed).collect(),
        }
    }
}

fn tls_values(server: &Arc<TlsServer>) -> TlsValues {
    TlsValues {
        port: server.port(),
        expires: server.expires(),
        outdated: server.is_outdated(),
        failed: server.failed(),
    }
}

fn limit_value(rule: &Rule, limit: &RuleLimit) -> LimitValue {
    LimitValue {
        domain: rule.domain.clone(),
        rule: rule.path.clone(),
        place: limit.place,
        period: limit.period.length,
        requests: limit.requests_per_unit,
    }
}

/// The series, sorted. Series with the same path are summed up: that of a rule, and that of a value with the same spelling.
fn merged(series: impl Iterator<Item = RuleSeries>) -> Vec<RuleSeries> {
    let mut merged: Vec<RuleSeries> = Vec::new();
    for next in series {
        match merged.last_mut() {
            Some(last) if (&last.domain, &last.rule) == (&next.domain, &next.rule) => last.totals.add(&next.totals),
            _ => merged.push(next),
        }
    }
    merged
}

fn rule(SeriesUsage { labels, totals }: SeriesUsage) -> RuleSeries {
    RuleSeries { domain: labels.domain, rule: labels.rule, key1: labels.key1, key2: labels.key2, totals }
}

fn entry_requests(RequestCounts { name, other, totals }: &RequestCounts) -> EntryRequests {
    EntryRequests {
        domain: name.key.domain.clone(),
        key: name.key.key.clone(),
        value: (!other).then(|| name.value.clone()),
        totals: *totals,
    }
}
