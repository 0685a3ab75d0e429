//! The composition root: loads, binds, runs, and ends everything in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use axum::Router;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::grpc::{Context, Workers, common_services};
use crate::http::{ConfigState, JsonChecks, Probes, RenderMetrics, Server, admin_router, public_router};
use crate::limiter::{Lane, Limiter};
use crate::net::{BindError, Bound, Slots, bind};
use crate::rules::{self, RuleSet, SourceFile};
use crate::settings::Settings;
use crate::shutdown::{Lifecycle, Phase, Request, Signals};

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
    #[error("{}", .0.join("\nerror: "))]
    Config(Vec<String>),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The drain would outlast the deadline.
    #[error("--drain {drain:?} must be shorter than --shutdown-deadline {deadline:?}")]
    Drain {
        /// How long checks are to be served after the signal.
        drain: Duration,
        /// When everything is to be over.
        deadline: Duration,
    },
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
        return Err(AppError::Drain { drain, deadline });
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
    core: Core,
    workers: Workers,
    servers: JoinSet<()>,
    /// What is undone at the end, such as the file of a unix socket.
    _guards: Vec<Box<dyn Send>>,
}

/// What the front ends share.
struct Core {
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    config: Arc<ConfigState>,
    lifecycle: Lifecycle,
}

/// The bound addresses.
struct Ports {
    grpc: Bound,
    http: Bound,
    admin: Bound,
}

/// Room for connections, port by port.
struct PortSlots {
    grpc: Slots,
    http: Slots,
    admin: Slots,
}

impl<'a> App<'a> {
    /// Loads, binds, starts. The order matters: nothing is bound for a configuration that does not load, and health is
    /// SERVING only when every port is served.
    fn start(settings: &'a Settings) -> Result<Self, AppError> {
        let core = Core::load(settings)?;
        let Ports { grpc, http, admin } = Ports::bind(settings)?;
        let listening = format!("listening grpc={} http={} admin={}", grpc.address, http.address, admin.address);
        let slots = PortSlots::new(settings.max_connections);
        let (public, operators) = core.routers(settings, render_metrics(&slots));

        let (mut servers, mut guards) = (JoinSet::new(), Vec::<Box<dyn Send>>::new());
        for (port, slots, router) in [(http, slots.http, public), (admin, slots.admin, operators)] {
            let (sockets, guard) = port.into_parts();
            guards.push(Box::new(guard));
            for socket in sockets {
                let server = Server::new(socket, slots.clone(), router.clone(), core.lifecycle.phases())?;
                servers.spawn(server.run());
            }
        }
        let (sockets, guard) = grpc.into_parts();
        guards.push(Box::new(guard));
        let workers = Workers::start(sockets, &core.context(slots.grpc))?;

        core.lifecycle.advance(Phase::Serving);
        tracing::info!("{listening}");
        Ok(Self { settings, core, workers, servers, _guards: guards })
    }

    /// Serves until the first signal that says to stop.
    async fn run_until_stopped(&mut self, signals: &mut Signals) -> Result<(), AppError> {
        loop {
            let request = tokio::select! {
                request = signals.next() => request,
                () = self.workers.any_ended() => return Err(AppError::WorkerEnded),
            };
            match request {
                Request::Reload => self.reload(),
                Request::Stop(signal) => {
                    let drain = humantime::format_duration(self.settings.drain);
                    tracing::info!("{signal}: health is NOT_SERVING, checks are served for another {drain}");
                    return Ok(());
                }
            }
        }
    }

    fn reload(&self) {
        match load_rules(self.settings) {
            Ok(rules) => {
                self.core.limiter.replace_rules(rules);
                self.core.config.loaded();
                tracing::info!("configuration loaded");
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!("{error}");
                }
                tracing::error!("the configuration does not load ({} errors), the old rules go on", errors.len());
                self.core.config.refused(errors.join("\n"));
            }
        }
    }

    /// Drains, ends what is open, all under the deadline.
    async fn stop(self, signals: &mut Signals) -> End {
        let Self { settings, core: Core { lifecycle, .. }, workers, mut servers, _guards } = self;
        lifecycle.advance(Phase::Draining);
        let orderly = async {
            tokio::time::sleep(settings.drain).await;
            lifecycle.advance(Phase::Stopping);
            workers.all_ended().await;
            while servers.join_next().await.is_some() {}
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

impl Core {
    fn load(settings: &Settings) -> Result<Self, AppError> {
        let (limiter, config) = (Arc::new(build_limiter(settings)), Arc::new(ConfigState::default()));
        limiter.replace_rules(load_rules(settings).map_err(AppError::Config)?);
        config.loaded();
        Ok(Self { limiter, clock: Arc::new(Clock::start()), config, lifecycle: Lifecycle::default() })
    }

    /// What the public and the admin port serve.
    fn routers(&self, settings: &Settings, metrics: RenderMetrics) -> (Router, Router) {
        let phases = self.lifecycle.phases();
        let probes = Probes { phases: phases.clone(), config: Arc::clone(&self.config) };
        // The workers have the lanes before this one.
        let lane = Lane(settings.worker_count());
        let json = JsonChecks { limiter: Arc::clone(&self.limiter), clock: Arc::clone(&self.clock), lane };
        let public = public_router(json, probes.clone(), Arc::clone(&metrics));
        (public, admin_router(Arc::clone(&self.limiter), probes, metrics, common_services(&phases)))
    }

    fn context(&self, slots: Slots) -> Context {
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&self.clock));
        Context { limiter, clock, phases: self.lifecycle.phases(), slots }
    }
}

impl Ports {
    fn bind(settings: &Settings) -> Result<Self, BindError> {
        Ok(Self {
            grpc: bind(&settings.grpc_addr, settings.worker_count(), "--grpc-addr")?,
            http: bind(&settings.http_addr, 1, "--http-addr")?,
            admin: bind(&settings.admin_addr, 1, "--admin-addr")?,
        })
    }
}

impl PortSlots {
    fn new(max: u32) -> Self {
        Self { grpc: Slots::new(max), http: Slots::new(max), admin: Slots::new(max) }
    }
}

fn build_limiter(_settings: &Settings) -> Limiter {
    Limiter::default()
}

/// The metrics of the whole process.
fn render_metrics(_slots: &PortSlots) -> RenderMetrics {
    Arc::new(String::new)
}

/// Reads the files and the rules in them; the error lists all that is wrong.
fn load_rules(settings: &Settings) -> Result<RuleSet, Vec<String>> {
    let files = read_files(&settings.config).map_err(|error| vec![error])?;
    rules::load(&files, settings.load_options()).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn read_files(path: &Path) -> Result<Vec<SourceFile>, String> {
    let complain = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for path in config_files(path).map_err(|error| complain(path, &error))? {
        let text = fs::read(&path).map_err(|error| complain(&path, &error))?;
        files.push(SourceFile { name: path.display().to_string(), text });
    }
    Ok(files)
}

fn config_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = entries.collect::<io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    files.sort();
    Ok(files)
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
