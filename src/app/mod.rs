//! The composition root: loads, binds, runs and stops everything in order.

mod access;
mod hand_over;
mod in_force;
mod inherited;
mod maintenance;
mod metrics;
mod ports;
mod process;
mod recording;
mod rule_source;
mod statsd;
mod stop;
mod store;
mod stored_history;
mod stored_settings;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::admin::debug_router;
use crate::config::LoadError;
use crate::history::{DataDir, DataDirError};
use crate::http::{MetricsText, RenderMetrics};
use crate::limiter::WorkerSlot;
use crate::net::{BindError, Bound, ConnectionLimit, PartialBytes, Server, Socket, TlsError, TlsServer};
use crate::operations::JournalError;
use crate::rls::{Context, OtherCalls, Workers};
use crate::runtime::lifecycle::{Lifecycle, Phase, Request, Signals};
use crate::runtime::{do_without_huge_pages, memory_limit_bytes, threads};
use crate::settings::Settings;
use crate::state::State;
use crate::telemetry::denial_log::DenialLogger;
use crate::telemetry::otlp::{Otlp, OtlpError};
use crate::telemetry::{prometheus, stats_text};
use access::{Access, AccessError};
use hand_over::{HandOverError, Offer};
use inherited::{Inherited, ListenFdsError, Port};
use metrics::Sources;
use ports::{PortLimits, Ports};
use process::Process;
use rule_source::XdsError;
pub(crate) use stop::End;
use stop::{Running, Threads};
use store::StoreError;
pub(crate) use stored_history::StoredHistory;
pub(crate) use stored_settings::{StoredSettingsError, stored_settings};
use tls::Tls;

/// Why the process could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// The configuration does not load, with all of its errors.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin port has no tokens, and more than this machine reaches it; or a file of tokens or clients cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The TLS files of a port cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The control plane cannot be connected to.
    #[error(transparent)]
    Xds(#[from] XdsError),
    /// The store of shared counters cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The process that uses the data directory does not hand over.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// The sockets from systemd cannot be used.
    #[error(transparent)]
    ListenFds(#[from] ListenFdsError),
    /// The counters cannot be written to the data directory.
    #[error("cannot write the counters to --data-dir {0}: {1}")]
    State(String, io::Error),
    /// The stored settings cannot be used.
    #[error("cannot use the stored settings: {0}")]
    Journal(#[from] JournalError),
    /// The environment configures telemetry that cannot be exported.
    #[error(transparent)]
    Telemetry(#[from] OtlpError),
    /// The system has no threads, or no event queue.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A worker thread has ended, which is a bug.
    #[error("a worker has ended unexpectedly; see the log")]
    WorkerEnded,
}

impl AppError {
    /// The errors, each as one line.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(error) => error.lines().collect(),
            Self::Xds(XdsError::Overlay(errors)) => errors.clone(),
            other => vec![other.to_string()],
        }
    }
}

/// Serves until a signal stops the process.
///
/// # Errors
/// The configuration does not load, an address is taken, or the system has too few resources.
pub(crate) fn run(settings: &Settings) -> Result<End, AppError> {
    let (drain, deadline) = (settings.listen.drain, settings.listen.shutdown_deadline);
    if drain >= deadline {
        tracing::warn!(
            "--drain {drain:?} is not shorter than --shutdown-deadline {deadline:?}: checks in flight may be cut off"
        );
    }
    if let Some(warning) = settings.limits.budget_warning(memory_limit_bytes()) {
        tracing::warn!("{warning}");
    }
    if !settings.limits.huge_pages {
        do_without_huge_pages();
    }
    // Before this process has opened any file of its own: they are known by their numbers.
    let from_systemd = settings.listen.listen_fds.then(Inherited::from_systemd).transpose()?;
    ports::prepare_open_files(&settings.listen);
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(MAIN_THREADS)
        .thread_name("tidegate-main")
        // A client that asks for metrics as fast as it can must not take the time of the workers.
        .on_thread_start(threads::use_low_priority)
        .enable_all()
        .build()?;
    let admin = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ADMIN_THREADS)
        .thread_name("tidegate-admin")
        .on_thread_start(threads::use_lowest_priority)
        .enable_all()
        .build()?;
    let end = main.block_on(async {
        let mut signals = Signals::listen()?;
        let mut app = App::start(settings, from_systemd, admin.handle())?;
        app.run_until_stopped(&mut signals).await?;
        Ok(app.stop(&mut signals).await)
    });
    main.shutdown_background();
    admin.shutdown_background();
    end
}

/// Everything that runs.
struct App {
    settings: Settings,
    process: Process,
    /// For a process that takes the place of this one.
    offer: Option<Offer>,
    running: Running,
    /// What is cleaned up at the end, such as the file of a unix socket.
    _guards: Guards,
}

impl App {
    /// Loads, binds and starts, in this order: nothing is bound for a configuration that does not load, and health is SERVING
    /// only when every port is served, or about to be: probes may wait in inherited sockets.
    ///
    /// The admin port is served by the runtime `operators`.
    fn start(settings: &Settings, from_systemd: Option<Inherited>, operators: &Handle) -> Result<Self, AppError> {
        let mut in_force = settings.clone();
        let (data_dir, inherited) = acquire(&mut in_force, from_systemd)?;
        let settings = &in_force;
        let connections_wait = inherited.count(Port::Grpc) > 0;
        let (mut process, loaded, recorder) = Process::load(settings, data_dir.as_ref(), connections_wait)?;
        let ports = Ports::bind(&settings.listen, inherited)?;
        let copies = if data_dir.is_some() { ports.copies()? } else { Vec::new() };
        let access = Access::open(&settings.access, &ports.admin.address, &process.clock)?;
        let (listening, Ports { grpc, http, admin, metrics: metrics_port, debug }) = (ports.listening(), ports);
        let tls = Tls::open(&settings.tls)?;
        let limits = PortLimits::new(&settings.listen);
        let alerts = process.start_alerts(settings)?;
        let denial_logger = DenialLogger::start(settings.usage.denial_log, process.limiter.usage().denials())?;
        let mut sources = process.sources(&limits, &alerts, &denial_logger, &access, &tls);
        let statsd = statsd::start(settings, &mut sources)?;
        let telemetry = start_telemetry(&sources, &settings.reference.otel)?;
        let shown = sources.clone();
        let metrics = Arc::new(MetricsText::new(rendering(sources, settings.listen.metrics_label.clone())));
        let partial = PartialBytes::default();
        let routers = process.routers(settings, &metrics, &alerts, Arc::clone(&access.guard), &partial);

        let state = start_state(&mut process, data_dir.as_ref())?;
        process.keep_store();
        let here = &Handle::current();
        let pages = debug_router(Arc::clone(&process.limiter), move || stats_text(&shown.snapshot()));
        let ports = [
            HttpPort::new(debug, limits.debug, pages, None, operators),
            HttpPort::new(Some(http), limits.http, routers.public, tls.of("http"), here),
            HttpPort::new(metrics_port, limits.metrics, routers.metrics, tls.of("http"), here),
            HttpPort::new(Some(admin), limits.admin, routers.admin, tls.of("admin"), operators),
        ];
        if connections_wait {
            // Probes wait too: to them the service has never been away.
            process.serve_if_ready(settings);
        }
        let (servers, mut guards) = serve_ports(ports, &process.lifecycle)?;
        let (sockets, guard) = grpc.into_parts();
        guards.push(Box::new(guard));
        let tracer = telemetry.as_ref().and_then(Otlp::check_spans);
        let age = settings.listen.max_connection_age.map(|age| (age, settings.listen.max_connection_age_grace));
        let context = Context {
            service: process.service(WorkerSlot::default(), tracer),
            connection_limit: limits.grpc,
            partial,
            other_calls: OtherCalls::default(),
            tls: tls.of("grpc"),
            ready: process.ready(settings),
            clients: access.clients,
            age,
            front_end: settings.listen.http2,
        };
        let workers = Workers::start(sockets, &context)?;
        let offer = data_dir.as_ref().and_then(|dir| offer(dir, copies, settings.listen.shutdown_deadline, &process));
        let threads = Threads {
            _recording: recording::start(&settings.usage, &process)?,
            _watch: process.follow_rules()?,
            _sweeper: process.start_sweeper()?,
            _recorder: recorder,
            _data_dir: data_dir,
            _access: access.watch,
            _tls: tls.watch()?,
            _alerts: alerts,
            _denial_logger: denial_logger,
            _statsd: statsd,
        };

        process.rules.log(loaded.as_ref());
        // Before the line that names the ports, so that the process is ready for everybody who has read it.
        if !connections_wait {
            process.serve_if_ready(settings);
        }
        tracing::info!("{listening}");
        let running = Running { workers, servers, telemetry, threads, state, store: process.store.clone() };
        Ok(Self { settings: in_force, process, offer, running, _guards: guards })
    }

    /// Serves until the first signal that stops the process.
    async fn run_until_stopped(&mut self, signals: &mut Signals) -> Result<(), AppError> {
        let phases = self.process.lifecycle.phases();
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                () = self.process.rules.in_force(), if phases.now() == Phase::Starting => {
                    self.process.lifecycle.advance(Phase::Serving);
                    continue;
                }
                () = self.running.workers.any_ended() => return Err(AppError::WorkerEnded),
                () = taken(&mut self.offer) => return Ok(()),
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
        let rules = self.process.rules.clone();
        // Reading blocks, so not on this thread.
        let _outcome = tokio::task::spawn_blocking(move || rules.reload()).await;
    }

    /// Drains, and ends what is still open.
    async fn stop(self, signals: &mut Signals) -> End {
        stop::stop(self.running, &self.settings.listen, &self.process.lifecycle, self.offer, signals).await
    }
}

/// A port with HTTP, and what serves it.
struct HttpPort<'r> {
    /// `None`: there is no such port.
    bound: Option<Bound>,
    limit: ConnectionLimit,
    router: Router,
    tls: Option<Arc<TlsServer>>,
    runtime: &'r Handle,
}

impl<'r> HttpPort<'r> {
    fn new(
        bound: Option<Bound>,
        limit: ConnectionLimit,
        router: Router,
        tls: Option<Arc<TlsServer>>,
        runtime: &'r Handle,
    ) -> Self {
        Self { bound, limit, router, tls, runtime }
    }

    /// Serves it. Returns what has to live as long.
    fn serve(self, servers: &mut JoinSet<()>, lifecycle: &Lifecycle) -> Result<Option<Box<dyn Send>>, AppError> {
        let Self { bound, limit, router, tls, runtime } = self;
        let Some((sockets, guard)) = bound.map(Bound::into_parts) else { return Ok(None) };
        let _inside = runtime.enter();
        for socket in sockets {
            let server = Server::new(socket, limit.clone(), router.clone(), tls.clone(), lifecycle.phases())?;
            servers.spawn_on(server.run(), runtime);
        }
        Ok(Some(Box::new(guard)))
    }
}

/// Locks the data directory, with the sockets of the process that hands over, and takes those of systemd.
fn acquire(settings: &mut Settings, from_systemd: Option<Inherited>) -> Result<(Option<DataDir>, Inherited), AppError> {
    let Some(path) = settings.usage.data_dir.clone() else {
        if settings.listen.hand_over {
            tracing::warn!("--hand-over needs --data-dir: there is no other process to take the place of");
        }
        return Ok((None, from_systemd.unwrap_or_default()));
    };
    let is_ready = || process::check(settings);
    let fits = |passed: &Inherited| {
        let inherited = from_systemd.as_ref().unwrap_or(passed);
        Ok(ports::check(&settings.listen, inherited, passed)?)
    };
    let (data_dir, passed) = hand_over::lock(&path, settings.listen.hand_over, is_ready, fits)?;
    let inherited = from_systemd.unwrap_or(passed);
    // Connections wait in each of these sockets, so each has a worker.
    if let Ok(sockets @ 2..) = u16::try_from(inherited.count(Port::Grpc)) {
        settings.listen.workers = Some(sockets);
    }
    Ok((Some(data_dir), inherited))
}

/// What removes the files of unix sockets when it is dropped.
type Guards = Vec<Box<dyn Send>>;

/// Serves on these ports, until what is returned is dropped.
fn serve_ports<const N: usize>(
    ports: [HttpPort<'_>; N],
    lifecycle: &Lifecycle,
) -> Result<(JoinSet<()>, Guards), AppError> {
    let (mut servers, mut guards) = (JoinSet::new(), Vec::new());
    for port in ports {
        guards.extend(port.serve(&mut servers, lifecycle)?);
    }
    Ok((servers, guards))
}

/// Begins to write counters, before the first check, so that what it changes is written.
fn start_state(process: &mut Process, data_dir: Option<&DataDir>) -> Result<Option<State>, AppError> {
    let mut state = process.state.take();
    if let Some(state) = &mut state {
        let shown = || data_dir.map(|dir| dir.path().display().to_string()).unwrap_or_default();
        state.start().map_err(|error| AppError::State(shown(), error))?;
    }
    Ok(state)
}

/// Offers the sockets to a process that takes the place of this one.
fn offer(data_dir: &DataDir, copies: Vec<(Port, Socket)>, deadline: Duration, process: &Process) -> Option<Offer> {
    match Offer::start(data_dir.path(), copies, deadline, process.lifecycle.phases()) {
        Ok(offer) => Some(offer),
        Err(error) => {
            tracing::warn!(%error, "no other process can take the place of this one");
            None
        }
    }
}

/// Waits until another process has the sockets.
async fn taken(offer: &mut Option<Offer>) {
    match offer {
        Some(offer) => offer.taken().await,
        None => std::future::pending().await,
    }
}

/// The metrics of these sources as text, each series with these labels.
fn rendering(sources: Sources, labels: Vec<(String, String)>) -> RenderMetrics {
    Box::new(move |domains| match domains {
        None => prometheus::render(&sources.snapshot(), &labels),
        Some(domains) => prometheus::render_domains(&sources.snapshot(), &labels, domains),
    })
}

/// Starts the export that the standard `OTEL_*` variables configure, or what counts `instead` of them.
fn start_telemetry(sources: &Sources, instead: &[(&'static str, Option<String>)]) -> Result<Option<Otlp>, OtlpError> {
    let telemetry = Otlp::from_env(instead)?;
    if let Some(otlp) = &telemetry {
        let sources = sources.clone();
        otlp.observe(move || sources.snapshot());
    }
    Ok(telemetry)
}

/// For `/json` and probes; decisions for Envoy are made by the workers.
const MAIN_THREADS: usize = 2;
/// For the admin port: observers, queries and metrics, which have the lowest priority.
const ADMIN_THREADS: usize = 2;
