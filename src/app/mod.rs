//! The composition root: loads, binds, runs, and ends everything in order.

mod in_force;
mod maintenance;
mod metrics;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::admin::{Observers, Queries, Usage, admin_router};
use crate::alerts::{Alerts, Instance};
use crate::api::usage_service::usage_service_server;
use crate::config::{LoadError, Loaded, Pace, Reloader, Source, Watch};
use crate::grpc::{ACCEPTED_ENCODING, common_services};
use crate::history::{self, DataDir, DataDirError, History, Recorder};
use crate::http::{JsonChecks, Probes, RenderMetrics, public_router};
use crate::limiter::{self, Limiter, WorkerSlot};
use crate::net::{BindError, Bound, ConnectionLimit, PartialBytes, Server, bind};
use crate::rls::{Context, Workers};
use crate::runtime::clock::Clock;
use crate::runtime::lifecycle::{Lifecycle, Phase, Request, Signals};
use crate::runtime::threads::{self, Worker};
use crate::service::{DelayedReplies, Service};
use crate::settings::{Settings, WhenFull};
use crate::store;
use crate::telemetry::denial_log::DenialLogger;
use crate::telemetry::otlp::{CheckTracer, Otlp, OtlpError};
use crate::telemetry::{DecisionTimes, prometheus};
use metrics::Sources;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked, by the deadline at the latest.
    Orderly,
    /// By a second signal.
    Forced,
}

/// Why the process could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration does not load: all that is wrong with it.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The environment asks for telemetry that cannot be sent.
    #[error(transparent)]
    Telemetry(#[from] OtlpError),
    /// The system has no threads, or no event queue.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A thread that decides has ended: a fault of this program.
    #[error("a worker has ended unexpectedly; see the log")]
    WorkerEnded,
}

impl AppError {
    /// Each thing that is wrong, on a line of its own.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(error) => error.lines().collect(),
            other => vec![other.to_string()],
        }
    }
}

/// Serves until a signal says to stop.
///
/// # Errors
/// When the configuration does not load, an address is taken, or the system lacks what it takes.
pub fn run(settings: &Settings) -> Result<End, AppError> {
    let (drain, deadline) = (settings.listen.drain, settings.listen.shutdown_deadline);
    if drain >= deadline {
        tracing::warn!(
            "--drain {drain:?} is not shorter than --shutdown-deadline {deadline:?}: checks in flight may be cut off"
        );
    }
    raise_open_files(settings);
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(MAIN_THREADS)
        .thread_name("tidegate-main")
        .enable_all()
        .build()?;
    let admin = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ADMIN_THREADS)
        .thread_name("tidegate-admin")
        .on_thread_start(threads::come_last)
        .enable_all()
        .build()?;
    let end = main.block_on(async {
        let mut signals = Signals::listen()?;
        let mut app = App::start(settings, admin.handle())?;
        app.run_until_stopped(&mut signals).await?;
        Ok(app.stop(&mut signals).await)
    });
    main.shutdown_background();
    admin.shutdown_background();
    end
}

/// Everything that runs.
struct App<'a> {
    settings: &'a Settings,
    core: Core,
    workers: Workers,
    servers: JoinSet<()>,
    telemetry: Option<Otlp>,
    /// They end when they are dropped.
    threads: Threads,
    /// What is undone at the end, such as the file of a unix socket.
    _guards: Vec<Box<dyn Send>>,
}

/// The threads beside the decisions, and what the last of them writes to.
struct Threads {
    _watch: Watch,
    _sweeper: Worker,
    _recorder: Recorder,
    /// Given back when the recorder has ended: fields are dropped in this order.
    _data_dir: Option<DataDir>,
    _alerts: Alerts,
    _denial_logger: DenialLogger,
}

/// What the front ends share.
struct Core {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    config: Arc<Reloader>,
    history: Arc<History>,
    lifecycle: Lifecycle,
    delayed: DelayedReplies,
    observers: Observers,
    times: Arc<DecisionTimes>,
    instance: Instance,
}

/// The bound addresses.
struct Ports {
    grpc: Bound,
    http: Bound,
    admin: Bound,
}

/// Room for connections, port by port.
struct PortLimits {
    grpc: ConnectionLimit,
    http: ConnectionLimit,
    admin: ConnectionLimit,
}

impl<'a> App<'a> {
    /// Loads, binds, starts. The order matters: nothing is bound for a configuration that does not load, and health is
    /// SERVING only when every port is served.
    ///
    /// The admin port is served by the runtime `operators`.
    fn start(settings: &'a Settings, operators: &Handle) -> Result<Self, AppError> {
        let data_dir = settings.usage.data_dir.as_deref().map(DataDir::open).transpose()?;
        let (core, loaded, recorder) = Core::load(settings, data_dir.as_ref())?;
        let Ports { grpc, http, admin } = Ports::bind(settings)?;
        let listening = format!("listening grpc={} http={} admin={}", grpc.address, http.address, admin.address);
        let connection_limit = PortLimits::new(settings.listen.max_connections);
        let alerts = Alerts::start(
            Arc::clone(&core.limiter),
            Arc::clone(&core.clock),
            settings.alerts.clone(),
            core.instance.clone(),
        )?;
        let denial_logger = DenialLogger::start(settings.usage.denial_log, core.limiter.usage().denials())?;
        let sources = core.sources(&connection_limit, &alerts, &denial_logger);
        let telemetry = start_telemetry(&sources)?;
        let metrics: RenderMetrics = Arc::new(move || prometheus::render(&sources.snapshot()));
        let (public, admin_router) = core.routers(settings, metrics);

        let (mut servers, mut guards) = (JoinSet::new(), Vec::<Box<dyn Send>>::new());
        let here = Handle::current();
        for (port, connection_limit, router, runtime) in
            [(http, connection_limit.http, public, &here), (admin, connection_limit.admin, admin_router, operators)]
        {
            let (sockets, guard) = port.into_parts();
            guards.push(Box::new(guard));
            let _inside = runtime.enter();
            for socket in sockets {
                let server = Server::new(socket, connection_limit.clone(), router.clone(), core.lifecycle.phases())?;
                servers.spawn_on(server.run(), runtime);
            }
        }
        let (sockets, guard) = grpc.into_parts();
        guards.push(Box::new(guard));
        let tracer = telemetry.as_ref().and_then(Otlp::check_spans);
        let service = core.service(WorkerSlot::default(), tracer);
        let workers = Workers::start(sockets, &Context { service, connection_limit: connection_limit.grpc })?;
        let threads = Threads {
            _watch: core.config.watch(Pace::default())?,
            _sweeper: maintenance::start(Arc::clone(&core.limiter), Arc::clone(&core.clock))?,
            _recorder: recorder,
            _data_dir: data_dir,
            _alerts: alerts,
            _denial_logger: denial_logger,
        };

        core.lifecycle.advance(Phase::Serving);
        core.config.log(&loaded);
        tracing::info!("{listening}");
        Ok(Self { settings, core, workers, servers, telemetry, threads, _guards: guards })
    }

    /// Serves until the first signal that says to stop.
    async fn run_until_stopped(&mut self, signals: &mut Signals) -> Result<(), AppError> {
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                () = self.workers.any_ended() => return Err(AppError::WorkerEnded),
            };
            match request {
                Request::Reload => self.reload().await,
                Request::Stop(signal) => {
                    let drain = humantime::format_duration(self.settings.listen.drain);
                    tracing::info!(
                        "received {signal}, draining for {drain}: health is NOT_SERVING, checks are still served; \
                         a second SIGTERM or SIGINT ends the process at once"
                    );
                    return Ok(());
                }
            }
        }
    }

    async fn reload(&self) {
        let config = Arc::clone(&self.core.config);
        // The reloader logs the outcome itself. Reading blocks, so not on this thread.
        let _outcome = tokio::task::spawn_blocking(move || config.reload().is_ok()).await;
    }

    /// Drains, ends what is open, all under the deadline.
    async fn stop(self, signals: &mut Signals) -> End {
        let Self { settings, core: Core { lifecycle, .. }, workers, mut servers, telemetry, threads, _guards } = self;
        lifecycle.advance(Phase::Draining);
        let orderly = async {
            tokio::time::sleep(settings.listen.drain).await;
            lifecycle.advance(Phase::Stopping);
            let all_ended = async {
                workers.all_ended().await;
                while servers.join_next().await.is_some() {}
            };
            let closing =
                settings.listen.shutdown_deadline.mul_f32(CLOSING_SHARE).saturating_sub(settings.listen.drain);
            answer_by(closing, &lifecycle, all_ended).await;
            finish(threads, telemetry, settings.listen.shutdown_deadline).await;
        };
        tokio::select! {
            ended = tokio::time::timeout(settings.listen.shutdown_deadline, orderly) => {
                if ended.is_ok() {
                    tracing::info!("stopped");
                } else {
                    tracing::warn!("the shutdown deadline has passed: closing what is still open");
                }
                End::Orderly
            }
            signal = signals.stop() => {
                tracing::warn!("received {signal} again, ending at once");
                End::Forced
            }
        }
    }
}

impl Core {
    fn load(settings: &Settings, data_dir: Option<&DataDir>) -> Result<(Self, Loaded, Recorder), AppError> {
        let (limiter, clock) = (Arc::new(Limiter::new(limiter_settings(settings))), Arc::new(Clock::start()));
        let source = Source::open(&settings.config.0, settings.load_options());
        let (replaced, clock_of_reloads) = (Arc::clone(&limiter), Arc::clone(&clock));
        let apply = move |rules| in_force::replace(&replaced, clock_of_reloads.now(), rules);
        let config = Reloader::new(source, Arc::clone(&clock), apply);
        let config = Arc::new(config.with_shadow_mode(settings.limits.shadow_mode));
        let loaded = config.load()?;
        let counted = Arc::clone(&limiter);
        let read = Box::new(move || history::readings(counted.usage()));
        let (history, recorder) = History::start(&history_settings(settings, data_dir), read, Arc::clone(&clock))?;
        let (lifecycle, delayed, observers) = (Lifecycle::default(), DelayedReplies::default(), Observers::default());
        let times = Arc::new(DecisionTimes::new(settings.listen.worker_count()));
        // Seeded by the system again for each process: two that start in the same nanosecond differ too.
        let id = format!("{:016x}", ahash::RandomState::new().hash_one(clock.now()));
        let instance = Instance::here(id);
        Ok((Self { limiter, clock, config, history, lifecycle, delayed, observers, times, instance }, loaded, recorder))
    }

    /// Where the metrics are.
    fn sources(&self, connection_limit: &PortLimits, alerts: &Alerts, denial_logger: &DenialLogger) -> Sources {
        Sources {
            limiter: Arc::clone(&self.limiter),
            config: Arc::clone(&self.config),
            clock: Arc::clone(&self.clock),
            history: Arc::clone(&self.history),
            delayed: self.delayed.clone(),
            observers: self.observers.clone(),
            connection_limit: vec![
                connection_limit.grpc.clone(),
                connection_limit.http.clone(),
                connection_limit.admin.clone(),
            ],
            times: Arc::clone(&self.times),
            alerts: Arc::clone(alerts.counts()),
            log_lost: Arc::clone(denial_logger.lost()),
        }
    }

    /// What the public and the admin port serve.
    fn routers(&self, settings: &Settings, metrics: RenderMetrics) -> (Router, Router) {
        let phases = self.lifecycle.phases();
        let probes = Probes {
            phases: phases.clone(),
            config: Arc::clone(&self.config),
            history: Arc::clone(&self.history),
            limiter: Arc::clone(&self.limiter),
        };
        // The workers have the worker slots before this one.
        let worker = WorkerSlot(settings.listen.worker_count());
        let json = JsonChecks { service: Arc::new(self.service(worker, None)), partial: PartialBytes::default() };
        let public = public_router(json, probes.clone(), Arc::clone(&metrics));
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        let queries = Queries::new(Arc::clone(&self.history), Arc::clone(&limiter), Arc::clone(&clock));
        let usage = Usage::service(limiter, clock, self.observers.clone(), queries, self.instance.id.clone());
        let usage = usage.accept_compressed(ACCEPTED_ENCODING);
        let services = common_services(&phases, usage_service_server::SERVICE_NAME).add_service(usage);
        (public, admin_router(Arc::clone(&self.limiter), probes, metrics, services))
    }

    /// What decides about the checks of a worker.
    fn service(&self, worker: WorkerSlot, tracer: Option<CheckTracer>) -> Service {
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        let (delayed, times) = (self.delayed.clone(), Arc::clone(&self.times));
        Service { limiter, clock, worker, tracer, delayed, phases: self.lifecycle.phases(), times }
    }
}

impl Ports {
    fn bind(settings: &Settings) -> Result<Self, BindError> {
        Ok(Self {
            grpc: bind(&settings.listen.grpc_addr, settings.listen.worker_count(), "--grpc-addr")?,
            http: bind(&settings.listen.http_addr, 1, "--http-addr")?,
            admin: bind(&settings.listen.admin_addr, 1, "--admin-addr")?,
        })
    }
}

impl PortLimits {
    fn new(max: u32) -> Self {
        Self { grpc: ConnectionLimit::new(max), http: ConnectionLimit::new(max), admin: ConnectionLimit::new(max) }
    }
}

/// Waits for the last answer; after `closing` those that are still held in a queue are given at once.
async fn answer_by(closing: Duration, lifecycle: &Lifecycle, all_ended: impl Future<Output = ()>) {
    let mut all_ended = pin!(all_ended);
    if tokio::time::timeout(closing, all_ended.as_mut()).await.is_err() {
        lifecycle.advance(Phase::Closing);
        all_ended.await;
    }
}

fn limiter_settings(settings: &Settings) -> limiter::Settings {
    limiter::Settings {
        shadow_mode: settings.limits.shadow_mode,
        quota_mode: settings.limits.quota_mode,
        dynamic_metadata: settings.limits.dynamic_metadata,
        counter_budget_bytes: usize::try_from(settings.limits.counter_memory.0).unwrap_or(usize::MAX),
        when_full: match settings.limits.when_full {
            WhenFull::Deny => store::WhenFull::Deny,
            WhenFull::Allow => store::WhenFull::Allow,
        },
        // One for each worker, and one for `/json`.
        workers: settings.listen.worker_count() + 1,
        usage_series: settings.usage.usage_series,
    }
}

fn history_settings(settings: &Settings, data_dir: Option<&DataDir>) -> history::Settings {
    let path = data_dir.map(DataDir::usage);
    history::Settings { path, flush: settings.usage.history_flush, max_bytes: settings.usage.history_max_bytes.0 }
}

/// Starts what the standard `OTEL_*` variables ask for.
fn start_telemetry(sources: &Sources) -> Result<Option<Otlp>, OtlpError> {
    let telemetry = Otlp::from_env()?;
    if let Some(otlp) = &telemetry {
        let sources = sources.clone();
        otlp.observe(move || sources.snapshot());
    }
    Ok(telemetry)
}

/// Ends the threads beside the decision, and sends what telemetry is left. Both block, so not on a thread that runs tasks.
async fn finish(threads: Threads, telemetry: Option<Otlp>, deadline: Duration) {
    let finished = tokio::task::spawn_blocking(move || {
        drop(threads);
        telemetry.is_none_or(|otlp| otlp.shutdown(deadline))
    });
    if !finished.await.is_ok_and(|sent| sent) {
        tracing::warn!("not all telemetry could be sent to the collector");
    }
}

/// Every connection is an open file; the soft limit is usually far below what the system allows.
fn raise_open_files(settings: &Settings) {
    let wanted = u64::from(settings.listen.max_connections);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!("{limit} open files allowed, --max-connections is {wanted}"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

/// The share of the shutdown deadline after which delayed replies are given: the rest is for sending them.
const CLOSING_SHARE: f32 = 0.8;

/// For `/json` and probes; the decisions for Envoy have threads of their own.
const MAIN_THREADS: usize = 2;
/// For the admin port: observers, queries and metrics, which come last.
const ADMIN_THREADS: usize = 2;
