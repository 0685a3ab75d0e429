//! The composition root: loads, binds, runs, and ends everything in order.

mod metrics;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::{LoadError, Pace, Reloader, Source, Watch};
use crate::grpc::{Context, Workers, common_services};
use crate::http::{JsonChecks, Probes, RenderMetrics, Server, admin_router, public_router};
use crate::limiter::{self, Lane, Limiter};
use crate::net::{BindError, Slots, bind};
use crate::settings::{Settings, WhenFull};
use crate::shutdown::{Lifecycle, Phase, Request, Signals};
use crate::store;
use crate::sweeper::Sweeper;
use crate::telemetry::otlp::{Otlp, OtlpError};
use crate::telemetry::prometheus;
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
    /// The configuration does not load; each error on a line of its own.
    #[error("{}", .0.lines().collect::<Vec<_>>().join("\nerror: "))]
    Config(#[from] LoadError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
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

/// Serves until a signal says to stop.
///
/// # Errors
/// When the configuration does not load, an address is taken, or the system lacks what it takes.
pub fn run(settings: &Settings) -> Result<End, AppError> {
    let (drain, deadline) = (settings.drain, settings.shutdown_deadline);
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
    let end = main.block_on(async {
        let mut signals = Signals::listen()?;
        let mut app = App::start(settings)?;
        app.run_until_stopped(&mut signals).await?;
        Ok(app.stop(&mut signals).await)
    });
    main.shutdown_background();
    end
}

/// Everything that runs.
struct App<'a> {
    settings: &'a Settings,
    config: Arc<Reloader>,
    lifecycle: Lifecycle,
    workers: Workers,
    servers: JoinSet<()>,
    telemetry: Option<Otlp>,
    /// What is to be undone at the end, such as the file of a unix socket.
    _bound: Vec<Box<dyn Send>>,
    /// They end when they are dropped.
    _threads: (Watch, Sweeper),
}

impl<'a> App<'a> {
    fn start(settings: &'a Settings) -> Result<Self, AppError> {
        let clock = Arc::new(Clock::start());
        let limiter = Arc::new(Limiter::new(limiter_settings(settings)));
        let source = Source::open(&settings.config, settings.load_options());
        let replaced = Arc::clone(&limiter);
        let config = Arc::new(Reloader::new(source, Arc::clone(&clock), move |rules| replaced.replace_rules(rules)));
        config.load()?;

        let grpc = bind(&settings.grpc_addr, settings.worker_count(), "--grpc-addr")?;
        let http = bind(&settings.http_addr, 1, "--http-addr")?;
        let admin = bind(&settings.admin_addr, 1, "--admin-addr")?;
        let listening = format!("listening grpc={} http={} admin={}", grpc.address, http.address, admin.address);

        let lifecycle = Lifecycle::default();
        let phases = lifecycle.phases();
        let probes = Probes { phases: phases.clone(), config: Arc::clone(&config) };
        let slots = || Slots::new(settings.max_connections);
        let (grpc_slots, http_slots, admin_slots) = (slots(), slots(), slots());
        let sources = Sources {
            limiter: Arc::clone(&limiter),
            config: Arc::clone(&config),
            clock: Arc::clone(&clock),
            slots: vec![grpc_slots.clone(), http_slots.clone(), admin_slots.clone()],
        };
        let telemetry = Otlp::from_env()?;
        if let Some(otlp) = &telemetry {
            let sources = sources.clone();
            otlp.observe(move || sources.snapshot());
        }
        let metrics: RenderMetrics = Arc::new(move || prometheus::render(&sources.snapshot()));
        let json = JsonChecks {
            limiter: Arc::clone(&limiter),
            clock: Arc::clone(&clock),
            lane: Lane(settings.worker_count()),
        };
        let public = public_router(json, probes.clone(), Arc::clone(&metrics));
        let operators = admin_router(Arc::clone(&limiter), probes, metrics, common_services(&phases));

        let mut servers = JoinSet::new();
        let mut bound: Vec<Box<dyn Send>> = Vec::new();
        for (port, slots, router) in [(http, http_slots, public), (admin, admin_slots, operators)] {
            let (sockets, guard) = port.into_parts();
            bound.push(Box::new(guard));
            for socket in sockets {
                servers.spawn(Server::new(socket, slots.clone(), router.clone(), phases.clone())?.run());
            }
        }
        let spans = telemetry.as_ref().and_then(Otlp::check_spans);
        let context =
            Context { limiter: Arc::clone(&limiter), clock: Arc::clone(&clock), phases, slots: grpc_slots, spans };
        let (sockets, guard) = grpc.into_parts();
        bound.push(Box::new(guard));
        let workers = Workers::start(sockets, &context)?;

        let watch = config.watch(Pace::default())?;
        let sweeper = Sweeper::start(Arc::clone(&limiter), clock)?;
        lifecycle.advance(Phase::Serving);
        tracing::info!("{listening}");
        Ok(Self { settings, config, lifecycle, workers, servers, telemetry, _bound: bound, _threads: (watch, sweeper) })
    }

    /// Serves until the first signal that says to stop.
    async fn run_until_stopped(&mut self, signals: &mut Signals) -> Result<(), AppError> {
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                () = self.workers.any_ended() => return Err(AppError::WorkerEnded),
            };
            match request {
                Request::Reload => {
                    let config = Arc::clone(&self.config);
                    // The reloader logs the outcome itself; reading blocks, so not on this thread.
                    let _outcome = tokio::task::spawn_blocking(move || config.reload().is_ok()).await;
                }
                Request::Stop(signal) => {
                    let drain = humantime::format_duration(self.settings.drain);
                    tracing::info!("{signal}: health is NOT_SERVING, checks are served for another {drain}");
                    return Ok(());
                }
            }
        }
    }

    /// Drains, ends what is open, all under the deadline.
    async fn stop(self, signals: &mut Signals) -> End {
        self.lifecycle.advance(Phase::Draining);
        let Self { settings, lifecycle, workers, mut servers, telemetry, .. } = self;
        let orderly = async {
            tokio::time::sleep(settings.drain).await;
            lifecycle.advance(Phase::Stopping);
            workers.all_ended().await;
            while servers.join_next().await.is_some() {}
            flush(telemetry, settings.shutdown_deadline).await;
        };
        tokio::select! {
            ended = tokio::time::timeout(settings.shutdown_deadline, orderly) => {
                if ended.is_ok() {
                    tracing::info!("stopped");
                } else {
                    tracing::warn!("the shutdown deadline has passed: closing what is still open");
                }
                End::Orderly
            }
            signal = signals.stop() => {
                tracing::warn!("{signal} again: ending at once");
                End::Forced
            }
        }
    }
}

/// Sends what telemetry is left. The exporters block, so not on a thread that runs tasks.
async fn flush(telemetry: Option<Otlp>, deadline: Duration) {
    let Some(otlp) = telemetry else { return };
    let sent = tokio::task::spawn_blocking(move || otlp.shutdown(deadline)).await;
    if !sent.is_ok_and(|sent| sent) {
        tracing::warn!("not all telemetry could be sent to the collector");
    }
}

fn limiter_settings(settings: &Settings) -> limiter::Settings {
    limiter::Settings {
        shadow_mode: settings.shadow_mode,
        quota_mode: settings.quota_mode,
        dynamic_metadata: settings.dynamic_metadata,
        counter_budget_bytes: usize::try_from(settings.counter_memory.0).unwrap_or(usize::MAX),
        when_full: match settings.when_full {
            WhenFull::Deny => store::WhenFull::Deny,
            WhenFull::Allow => store::WhenFull::Allow,
        },
        // One for each worker, and one for `/json`.
        lanes: settings.worker_count() + 1,
    }
}

/// Every connection is an open file; the soft limit is in general far below what the system allows.
fn raise_open_files(settings: &Settings) {
    let wanted = u64::from(settings.max_connections);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!("{limit} open files allowed, --max-connections is {wanted}"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

/// For `/json`, probes and operators; the decisions for Envoy have threads of their own.
const MAIN_THREADS: usize = 2;
