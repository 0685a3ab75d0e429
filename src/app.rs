//! The composition root: loads, binds, runs, and ends everything in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::grpc::{Context, Workers, common_services};
use crate::http::{ConfigState, JsonChecks, Probes, RenderMetrics, Server, admin_router, public_router};
use crate::limiter::{Lane, Limiter};
use crate::net::{BindError, Slots, bind};
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
    limiter: Arc<Limiter>,
    config: Arc<ConfigState>,
    lifecycle: Lifecycle,
    workers: Workers,
    servers: JoinSet<()>,
    /// What is to be undone at the end, such as the file of a unix socket.
    _bound: Vec<Box<dyn Send>>,
}

impl<'a> App<'a> {
    fn start(settings: &'a Settings) -> Result<Self, AppError> {
        let limiter = Arc::new(build_limiter(settings));
        let config = Arc::new(ConfigState::default());
        limiter.replace_rules(load_rules(settings).map_err(AppError::Config)?);
        config.loaded();

        let grpc = bind(&settings.grpc_addr, settings.worker_count(), "--grpc-addr")?;
        let http = bind(&settings.http_addr, 1, "--http-addr")?;
        let admin = bind(&settings.admin_addr, 1, "--admin-addr")?;
        let listening = format!("listening grpc={} http={} admin={}", grpc.address, http.address, admin.address);

        let lifecycle = Lifecycle::default();
        let phases = lifecycle.phases();
        let clock = Arc::new(Clock::start());
        let probes = Probes { phases: phases.clone(), config: Arc::clone(&config) };
        let metrics = render_metrics();
        let json = JsonChecks {
            limiter: Arc::clone(&limiter),
            clock: Arc::clone(&clock),
            lane: Lane(settings.worker_count()),
        };
        let public = public_router(json, probes.clone(), Arc::clone(&metrics));
        let operators = admin_router(Arc::clone(&limiter), probes, metrics, common_services(&phases));

        let slots = || Slots::new(settings.max_connections);
        let mut servers = JoinSet::new();
        let mut bound: Vec<Box<dyn Send>> = Vec::new();
        for (port, router) in [(http, public), (admin, operators)] {
            let (sockets, guard) = port.into_parts();
            bound.push(Box::new(guard));
            for socket in sockets {
                servers.spawn(Server::new(socket, slots(), router.clone(), phases.clone())?.run());
            }
        }
        let context = Context { limiter: Arc::clone(&limiter), clock, phases, slots: slots() };
        let (sockets, guard) = grpc.into_parts();
        bound.push(Box::new(guard));
        let workers = Workers::start(sockets, &context)?;

        lifecycle.advance(Phase::Serving);
        tracing::info!("{listening}");
        Ok(Self { settings, limiter, config, lifecycle, workers, servers, _bound: bound })
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
                self.limiter.replace_rules(rules);
                self.config.loaded();
                tracing::info!("configuration loaded");
            }
            Err(errors) => {
                for error in &errors {
                    tracing::error!("{error}");
                }
                tracing::error!("the configuration does not load ({} errors), the old rules go on", errors.len());
                self.config.refused(errors.join("\n"));
            }
        }
    }

    /// Drains, ends what is open, all under the deadline.
    async fn stop(self, signals: &mut Signals) -> End {
        self.lifecycle.advance(Phase::Draining);
        let Self { settings, lifecycle, workers, mut servers, .. } = self;
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

fn build_limiter(_settings: &Settings) -> Limiter {
    Limiter::default()
}

fn render_metrics() -> RenderMetrics {
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
