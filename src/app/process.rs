//! What all ports share.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Handle;

use super::access::Access;
use super::metrics::Sources;
use super::ports::PortLimits;
use super::rule_source::{Following, RuleSource};
use super::tls::Tls;
use super::{AppError, in_force, maintenance, store as shared_store};
use crate::admin::{Admin, Dashboard, DelayedCount, Guard, Observers, Queries, Usage, admin_router};
use crate::alerts::{Alerts, Instance};
use crate::api::proto::tidegate::v1::admin_service_server;
use crate::api::usage_service::usage_service_server;
use crate::config::{Loaded, Publisher, RulesInForce, SettingsBook};
use crate::engine_link::StoreUrl;
use crate::grpc::{ACCEPTED_ENCODING, Ready, common_services};
use crate::history::{self, DataDir, History, Recorder};
use crate::http::{JsonChecks, MetricsText, Probes, public_router};
use crate::limiter::{self, Limiter, Sharing, View, WorkerSlot};
use crate::net::PartialBytes;
use crate::operations::{Journal, Operations, Shared};
use crate::recording::Recordings;
use crate::runtime::clock::{Clock, Stopwatch};
use crate::runtime::lifecycle::{Lifecycle, Phase};
use crate::runtime::memory_limit_bytes;
use crate::runtime::threads::Worker;
use crate::service::{DelayedReplies, Service};
use crate::settings::{HeaderNames, Json, Settings, SettingsMode, WhenFull};
use crate::sharing::{Asker, SharedStore};
use crate::state::{self, Restored, State};
use crate::store;
use crate::telemetry::DecisionTimes;
use crate::telemetry::denial_log::DenialLogger;
use crate::telemetry::otlp::{CheckTracer, Otlp};
use crate::usage::LastReading;

/// What the ports share. They do not depend on this type, which is above them: each is given the parts that it needs.
pub(super) struct Process {
    /// The counters in the data directory.
    pub(super) state: Option<State>,
    pub(super) limiter: Arc<Limiter>,
    /// The store of shared counters; `None`: counters are those of this process.
    pub(super) store: Option<Arc<SharedStore>>,
    pub(super) clock: Arc<Clock>,
    pub(super) config: Arc<Publisher>,
    /// Where the rules come from.
    pub(super) rules: RuleSource,
    /// What follows their changes, if that has begun already.
    following: Option<Following>,
    pub(super) operations: Arc<Operations>,
    pub(super) history: Arc<History>,
    pub(super) lifecycle: Lifecycle,
    pub(super) delayed: DelayedReplies,
    pub(super) observers: Observers,
    pub(super) times: Arc<DecisionTimes>,
    pub(super) recordings: Arc<Recordings>,
    pub(super) instance: Instance,
}

/// What the ports serve that are not for Envoy.
pub(super) struct Routers {
    pub(super) public: Router,
    pub(super) admin: Router,
    pub(super) metrics: Router,
}

impl Process {
    pub(super) fn load(
        settings: &Settings,
        data_dir: Option<&DataDir>,
        connections_wait: bool,
    ) -> Result<(Self, Option<Loaded>, Recorder), AppError> {
        let (clock, url) = (Arc::new(Clock::start()), shared_store::url(&settings.store)?);
        let limiter = limiter_settings(settings);
        let in_outage = limiter.counter_budget_bytes / OUTAGE_SHARE;
        let sharing = url.is_some().then(|| shared_store::limiter_sharing(&settings.store, in_outage));
        let limiter = Arc::new(Limiter::new(limiter).with_sharing(sharing));
        let journal = data_dir.map(|dir| Journal::open(&dir.settings(), clock.now())).transpose()?;
        let stored = journal.as_ref().map(Journal::settings).transpose()?.unwrap_or_default();
        let (replaced, clock_of_reloads) = (Arc::clone(&limiter), Arc::clone(&clock));
        let apply = move |rules: RulesInForce<'_>, candidate: Option<RulesInForce<'_>>| {
            in_force::replace(&replaced, clock_of_reloads.now(), rules, candidate);
        };
        let config = Arc::new(Publisher::new(stored, apply));
        let options = settings.load_options(url.as_ref().is_some_and(StoreUrl::is_cluster));
        let kept = data_dir.map(DataDir::path);
        let rules = RuleSource::new(settings, options, Arc::clone(&clock), Arc::clone(&config), kept)?;
        let loaded = rules.load()?;
        let lifecycle = Lifecycle::default();
        // Before the counters are read: those of rules that are not there are dropped.
        let has_rules = settings.xds.start_without_rules || limiter.view().is_some();
        let following = (connections_wait && !has_rules).then(|| wait_for_rules(&rules, &lifecycle)).transpose()?;
        let flush = settings.usage.state_flush;
        let state = data_dir.map(|dir| restore_counters(dir.path(), flush, &limiter, &clock));
        if let (Some(state), Some(damage)) = (&state, journal.as_ref().and_then(Journal::damage)) {
            state.status().lock().settings_damage = Some(damage.to_owned());
        }
        let read_only = settings.limits.settings == SettingsMode::ReadOnly;
        let (changed, counted) = (Arc::clone(&config), Arc::clone(&limiter));
        // The hasher has random keys, so that two processes that start in the same nanosecond have different ids.
        let id = format!("{:016x}", ahash::RandomState::new().hash_one(clock.now()));
        let instance = Instance::here(id);
        let leases = limiter.sharing().map(Sharing::leases);
        let store = url.zip(leases);
        let store = store.map(|(url, leases)| shared_store::store(&settings.store, url, &instance.id, &clock, leases));
        let shared = |store| Shared::new(store, instance.id.clone(), instance.host.clone());
        let shared = store.clone().map(shared);
        let operations = Operations::new(changed, counted, Arc::clone(&clock), journal, read_only);
        let operations = Arc::new(operations.with_load_options(options).with_shared(shared));
        let counted = Arc::clone(&limiter);
        let mut last = LastReading::default();
        let read =
            Box::new(move |take: &mut dyn FnMut(_)| history::readings(counted.usage(), &mut last).for_each(take));
        let (history, recorder) = History::start(&history_settings(settings, data_dir), read, Arc::clone(&clock))?;
        let (delayed, observers) = (DelayedReplies::default(), Observers::default());
        let times = Arc::new(DecisionTimes::new(settings.listen.worker_count()));
        let recordings = Arc::new(Recordings::new(slots(settings)));
        let process = Self {
            state,
            limiter,
            store,
            clock,
            config,
            rules,
            following,
            operations,
            history,
            lifecycle,
            delayed,
            observers,
            times,
            recordings,
            instance,
        };
        Ok((process, loaded, recorder))
    }

    /// Where the metrics get their values.
    pub(super) fn sources(
        &self,
        connection_limit: &PortLimits,
        alerts: &Alerts,
        denial_logger: &DenialLogger,
        access: &Access,
        tls: &Tls,
    ) -> Sources {
        Sources {
            limiter: Arc::clone(&self.limiter),
            store: self.store.clone(),
            state: self.state.as_ref().map(State::status),
            config: Arc::clone(&self.config),
            xds: self.rules.xds(),
            operations: Arc::clone(&self.operations),
            clock: Arc::clone(&self.clock),
            history: Arc::clone(&self.history),
            delayed: self.delayed.clone(),
            observers: self.observers.clone(),
            connection_limit: vec![
                connection_limit.grpc.clone(),
                connection_limit.http.clone(),
                connection_limit.admin.clone(),
                connection_limit.metrics.clone(),
                connection_limit.debug.clone(),
            ],
            guard: Arc::clone(&access.guard),
            clients: access.clients.clone(),
            tls: tls.clone(),
            times: Arc::clone(&self.times),
            recordings: Arc::clone(&self.recordings),
            alerts: Arc::clone(alerts.counts()),
            statsd: None,
            log_lost: Arc::clone(denial_logger.lost()),
        }
    }

    /// What the ports serve that are not for Envoy.
    pub(super) fn routers(
        &self,
        settings: &Settings,
        metrics: &Arc<MetricsText>,
        alerts: &Alerts,
        guard: Arc<Guard>,
        partial: &PartialBytes,
    ) -> Routers {
        let phases = self.lifecycle.phases();
        let probes = Probes {
            phases: phases.clone(),
            config: Arc::clone(&self.config),
            history: Arc::clone(&self.history),
            limiter: Arc::clone(&self.limiter),
            state: self.state.as_ref().map(State::status),
            store: self.store.clone(),
            store_required: settings.store.store_required,
            xds: self.rules.xds(),
            ready: self.ready(settings),
        };
        // The slots before this one belong to the workers.
        let worker = WorkerSlot(settings.listen.worker_count());
        let json = JsonChecks { service: Arc::new(self.service(worker, None)), partial: partial.of_port() };
        // Its callers have no certificate with a name, so that --access rules them out.
        let json = (settings.access.json == Json::On && settings.access.access.is_none()).then_some(json);
        let own_port = settings.listen.metrics_addr.is_some();
        let public = public_router(json, probes.clone(), (!own_port).then(|| ("/metrics", Arc::clone(metrics))));
        let monitoring =
            public_router(None, probes.clone(), Some((&settings.listen.metrics_path, Arc::clone(metrics))));
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        let queries = Queries::new(Arc::clone(&self.history), Arc::clone(&limiter), Arc::clone(&clock));
        let usage = Usage::new(limiter, clock, self.observers.clone(), queries, self.instance.id.clone());
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        let asker = self.store.as_ref().map(|store| Asker::new(Arc::clone(store)));
        let admin = Admin::new(Arc::clone(&self.operations), limiter, clock, Arc::clone(&self.recordings), asker);
        let dashboard = self.dashboard(usage.clone(), admin.clone(), alerts);
        let usage = usage.service().accept_compressed(ACCEPTED_ENCODING);
        let admin = admin.service().accept_compressed(ACCEPTED_ENCODING);
        let own = [usage_service_server::SERVICE_NAME, admin_service_server::SERVICE_NAME];
        let services = common_services(&phases, &self.ready(settings), &own).add_service(usage).add_service(admin);
        let limiter = Arc::clone(&self.limiter);
        let xds = self.rules.xds();
        let admin = admin_router(limiter, probes, Arc::clone(metrics), services, dashboard, xds, guard);
        Routers { public, admin, metrics: monitoring }
    }

    fn dashboard(&self, usage: Usage, admin: Admin, alerts: &Alerts) -> Dashboard {
        let delayed = self.delayed.clone();
        Dashboard {
            usage,
            admin,
            limiter: Arc::clone(&self.limiter),
            config: Arc::clone(&self.config),
            history: Arc::clone(&self.history),
            notifications: Arc::clone(alerts.recent()),
            delayed: DelayedCount(Arc::new(move || delayed.count())),
            phases: self.lifecycle.phases(),
            instance: self.instance.clone(),
        }
    }

    /// What health needs besides the phase.
    pub(super) fn ready(&self, settings: &Settings) -> Ready {
        let limiter = Arc::clone(&self.limiter);
        let has_domain = move || {
            let view = limiter.view();
            view.as_ref().and_then(View::rules).is_some_and(|rules| rules.domains().next().is_some())
        };
        if settings.xds.domain_required { Ready::when(has_domain) } else { Ready::default() }
    }

    /// Follows changes of the rules from now on, until what is returned is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn follow_rules(&mut self) -> io::Result<Following> {
        self.following.take().map_or_else(|| self.rules.start(self.lifecycle.phases()), Ok)
    }

    /// Health is SERVING from now on, unless rules have to come first.
    pub(super) fn serve_if_ready(&self, settings: &Settings) {
        if settings.xds.start_without_rules || self.limiter.view().is_some() {
            self.lifecycle.advance(Phase::Serving);
        } else {
            tracing::info!("not ready yet: waiting for the first set of rules from the control plane");
        }
    }

    /// Begins to look after the store of shared counters, if there is one. Needs a tokio runtime.
    pub(super) fn keep_store(&self) {
        if let Some(store) = &self.store {
            shared_store::keep(store, &self.limiter, self.lifecycle.phases());
            shared_store::share_changes(store, &self.operations, self.lifecycle.phases());
        }
    }

    /// Begins to look after alerts.
    pub(super) fn start_alerts(&self, settings: &Settings) -> io::Result<Alerts> {
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        Alerts::start(limiter, clock, settings.alerts.clone(), self.instance.clone())
    }

    /// Begins to free what has expired.
    pub(super) fn start_sweeper(&self) -> io::Result<Worker> {
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        maintenance::start(limiter, clock, Arc::clone(&self.operations))
    }

    /// The service that decides the checks of one worker.
    pub(super) fn service(&self, worker: WorkerSlot, tracer: Option<CheckTracer>) -> Service {
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        let (delayed, times) = (self.delayed.clone(), Arc::clone(&self.times));
        let recordings = Arc::clone(&self.recordings);
        let asker = self.store.as_ref().map(|store| Asker::new(Arc::clone(store)));
        Service { limiter, clock, worker, tracer, delayed, phases: self.lifecycle.phases(), times, recordings, asker }
    }
}

/// Whether the configuration and the other files load, so that a process that takes the place of another one does not fail afterwards.
pub(super) fn check(settings: &Settings) -> Result<(), AppError> {
    let publisher = Arc::new(Publisher::new(SettingsBook::default(), |_, _| {}));
    let options = settings.load_options(shared_store::url(&settings.store)?.is_some_and(|url| url.is_cluster()));
    RuleSource::new(settings, options, Arc::new(Clock::start()), publisher, None)?.load()?;
    super::access::check(&settings.access)?;
    Tls::open(&settings.tls)?;
    Otlp::check(&settings.reference.otel)?;
    Ok(())
}

/// Follows the rules, and waits for the first ones of the control plane: connections wait in sockets that another process had, and their checks would
/// be UNAVAILABLE. Needs a tokio runtime with several threads.
fn wait_for_rules(rules: &RuleSource, lifecycle: &Lifecycle) -> io::Result<Following> {
    let following = rules.start(lifecycle.phases())?;
    let arrived = async { tokio::time::timeout(FIRST_RULES, rules.in_force()).await };
    if tokio::task::block_in_place(|| Handle::current().block_on(arrived)).is_err() {
        tracing::warn!("no rules from the control plane within {FIRST_RULES:?}; connections are accepted without them");
    }
    Ok(following)
}

/// Reads the counters of the last run, and logs how that went.
fn restore_counters(path: &Path, flush: Duration, limiter: &Arc<Limiter>, clock: &Arc<Clock>) -> State {
    let stopwatch = Stopwatch::start();
    let state = State::restore(path, flush, limiter, clock);
    let Restored { counters, dropped, damage, latest, .. } = state.restored();
    for damage in damage {
        tracing::error!("the counters of the last run are not complete: {damage}");
    }
    if let Some(note) = latest.and_then(|latest| state::clock_note(latest, clock.now())) {
        tracing::warn!("{note}");
    }
    if counters + dropped > 0 {
        let took = humantime::format_duration(Duration::from_millis(stopwatch.elapsed().as_millis_ceil()));
        tracing::info!(counters, dropped, %took, "counters restored");
    }
    state
}

fn limiter_settings(settings: &Settings) -> limiter::Settings {
    let budget_bytes = settings.limits.counter_budget_bytes(memory_limit_bytes());
    limiter::Settings {
        shadow_mode: settings.limits.shadow_mode,
        quota_mode: settings.limits.quota_mode,
        dynamic_metadata: settings.limits.dynamic_metadata,
        counter_budget_bytes: usize::try_from(budget_bytes).unwrap_or(usize::MAX),
        when_full: match settings.limits.when_full {
            WhenFull::Deny => store::WhenFull::Deny,
            WhenFull::Allow => store::WhenFull::Allow,
        },
        workers: slots(settings),
        usage_series: settings.usage.usage_series,
        counts_usage: true,
        near_limit_ratio: settings.limits.near_limit_ratio,
        headers: settings.limits.headers.iter().map(|headers| headers.family()).collect::<Vec<_>>().leak(),
        draft_03_names: settings.limits.header_names.as_ref().map_or(limiter::DRAFT_03_NAMES, header_names),
    }
}

/// The names of headers, for as long as the process lives: settings are read once.
fn header_names(HeaderNames(names): &HeaderNames) -> [&'static str; 3] {
    names.clone().map(|name| &*name.leak())
}

/// The slots of those who decide: one for each worker, and one for `/json`.
fn slots(settings: &Settings) -> usize {
    settings.listen.worker_count() + 1
}

fn history_settings(settings: &Settings, data_dir: Option<&DataDir>) -> history::Settings {
    let path = data_dir.map(DataDir::usage);
    history::Settings { path, flush: settings.usage.history_flush, max_bytes: settings.usage.history_max_bytes.0 }
}

/// How long connections wait for rules when another process had some: a control plane answers at once.
const FIRST_RULES: Duration = Duration::from_secs(5);
/// What is spent while the store is down may take this share of the memory budget, in addition to it.
const OUTAGE_SHARE: usize = 4;
