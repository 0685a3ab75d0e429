//! A whole run: the threads of the generator, the time that counts, and the cost of both sides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::generator::Generator;
use super::opening::{StartError, probe};
use super::plan::Plan;
use super::schedule::Pace;
use super::stats::Stats;
use super::worker::{LiveCounts, ThreadResult, Timing};
use crate::net::Address;
use crate::runtime::clock::Stopwatch;
use crate::runtime::{Cost, Process};
use crate::units::Nanos;

/// The result of a run.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// The rate of checks.
    pub pace: Pace,
    /// The time in which checks counted, in seconds: less than planned if the run was ended early.
    pub seconds: f64,
    /// The outcomes of the checks.
    pub stats: Stats,
    /// Open loop: checks that were due at the end and had not been sent.
    pub backlog: u64,
    /// The number of connections that were opened again.
    pub reconnects: u64,
    /// The reason, the first time.
    pub reconnected_because: Option<String>,
    /// The cost of the server, if its process is known; an error if the process ended during the run.
    pub server: Option<Result<ServerCost, String>>,
    /// CPU time of the generator in nanoseconds.
    pub generator_cpu_ns: u64,
}

/// The cost of the server while checks counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerCost {
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in bytes when checks began to count, and at the end.
    pub resident_bytes: (u64, u64),
}

/// The progress of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The time since its start.
    pub elapsed: Nanos,
    /// Whether checks count already.
    pub warm: bool,
    /// Checks answered since checks count.
    pub answered: u64,
    /// Checks without an answer since checks count.
    pub errors: u64,
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// No checks can be sent to the server.
    #[error("{target}: {error}")]
    Start {
        /// The server.
        target: Address,
        /// The reason.
        error: StartError,
    },
    /// The run was ended before checks counted.
    #[error("ended before anything was measured")]
    TooEarly,
    /// The cost of a process cannot be read.
    #[error("cannot read the cost of the generator: {0}")]
    Cost(std::io::Error),
    /// A thread could not be started, or ended unexpectedly.
    #[error("a thread of the generator {0}")]
    Thread(String),
}

/// Runs the plan. `watch` is called with the progress about once a second. The run ends early when `interrupted` returns
/// true.
///
/// Blocks for about `warmup` and `duration`, and at most some seconds more at the end.
///
/// # Errors
/// A connection fails at the beginning, or nothing was measured.
pub(crate) fn run(
    plan: &Plan,
    interrupted: &dyn Fn() -> bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Measured, RunError> {
    let common = Arc::new(plan.clone());
    let (ready, greeted) = sync_channel(plan.threads);
    let mut threads = Vec::new();
    for number in 0..plan.threads {
        let counts = Arc::new(LiveCounts::default());
        let (start, started) = sync_channel(1);
        let (plan, ready, mine) = (Arc::clone(&common), ready.clone(), Arc::clone(&counts));
        let body = move || generate(plan, number, &ready, &started, &mine);
        let spawned = thread::Builder::new().name(format!("tidegate-load-{number}")).spawn(body);
        let handle = spawned.map_err(|error| RunError::Thread(format!("cannot be started: {error}")))?;
        threads.push(Running { start, handle, counts });
    }
    drop(ready);
    for _ in &threads {
        let meaning = greeted.recv().map_err(|_| RunError::Thread("ended".to_owned()))?;
        meaning.map_err(|error| RunError::Start { target: plan.target.clone(), error })?;
    }
    // All connections are open.
    let warm_ns = Nanos::from(plan.warmup).as_ns();
    let end_ns = AtomicU64::new(warm_ns.saturating_add(Nanos::from(plan.duration).as_ns()));
    let timing = Arc::new(Timing { began: Stopwatch::start(), warm_ns, end_ns });
    for thread in &threads {
        let _gone = thread.start.send(Arc::clone(&timing));
    }
    let costs = Costs::until(&timing, plan, interrupted, &mut |elapsed| watch(progress(&threads, &timing, elapsed)));
    let mut results = Vec::new();
    for thread in threads {
        let result = thread.handle.join().ok().flatten();
        results.push(result.ok_or_else(|| RunError::Thread("ended".to_owned()))?);
    }
    let seconds = Duration::from_nanos(timing.end_ns().saturating_sub(warm_ns)).as_secs_f64();
    if seconds <= 0.0 {
        return Err(RunError::TooEarly);
    }
    Ok(measured(plan, seconds, &results, costs?))
}

/// Sends a check for the limit of 0. Returns whether the server denies it, or `None` if there was no answer.
///
/// A server that admits it has other rules than [`Traffic::rules`], or none.
///
/// # Errors
/// The connection fails, or the server does not use HTTP/2.
pub(crate) fn denies_what_it_should(plan: &Plan) -> Result<Option<bool>, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::Setup(format!("no runtime: {error}")));
    let denied = runtime.and_then(|runtime| runtime.block_on(probe(plan)));
    denied.map_err(|error| RunError::Start { target: plan.target.clone(), error })
}

/// A thread of the generator.
struct Running {
    start: SyncSender<Arc<Timing>>,
    handle: thread::JoinHandle<Option<ThreadResult>>,
    counts: Arc<LiveCounts>,
}

fn generate(
    plan: Arc<Plan>,
    number: usize,
    ready: &SyncSender<Result<(), StartError>>,
    started: &std::sync::mpsc::Receiver<Arc<Timing>>,
    counts: &Arc<LiveCounts>,
) -> Option<ThreadResult> {
    match Generator::connect(plan, number) {
        Ok(generator) => {
            let _gone = ready.send(Ok(()));
            // No thread starts if another one could not connect.
            Some(generator.run(&started.recv().ok()?, counts))
        }
        Err(error) => {
            let _gone = ready.send(Err(error));
            None
        }
    }
}

/// The cost of both processes while checks counted.
struct Costs {
    generator: (Cost, Cost),
    server: Option<Result<(Cost, Cost), String>>,
}

impl Costs {
    /// Waits until the run is over, and reads the cost of the processes when checks begin to count and at the end.
    fn until(
        timing: &Timing,
        plan: &Plan,
        interrupted: &dyn Fn() -> bool,
        watch: &mut dyn FnMut(Nanos),
    ) -> Result<Self, RunError> {
        let this = Process::this();
        let look = || {
            let server = plan.server.as_ref().map(|server| server.cost().map_err(|error| error.to_string()));
            this.cost().map(|generator| (generator, server)).map_err(RunError::Cost)
        };
        let (mut before, mut next_report) = (None, Nanos::SECOND);
        loop {
            let now_ns = timing.now_ns();
            if interrupted() {
                timing.end_ns.fetch_min(now_ns, Ordering::Relaxed);
            }
            if before.is_none() && now_ns >= timing.warm_ns {
                before = Some(look()?);
            }
            if now_ns >= timing.end_ns() {
                break;
            }
            let now = Nanos::from_ns(now_ns);
            if now >= next_report {
                watch(now);
                next_report = next_report.plus(Nanos::SECOND);
            }
            let next_ns = if before.is_none() { timing.warm_ns } else { timing.end_ns() };
            thread::sleep(Nanos::from_ns(next_ns.saturating_sub(now_ns).min(LOOK_NS)).into());
        }
        let (generator_after, server_after) = look()?;
        let (generator_before, server_before) =
            before.unwrap_or_else(|| (generator_after.clone(), server_after.clone()));
        let server = server_before.zip(server_after).map(|(before, after)| Ok((before?, after?)));
        Ok(Self { generator: (generator_before, generator_after), server })
    }
}

fn progress(threads: &[Running], timing: &Timing, elapsed: Nanos) -> Progress {
    let sum = |of: fn(&LiveCounts) -> &AtomicU64| {
        threads.iter().map(|thread| of(&thread.counts).load(Ordering::Relaxed)).sum::<u64>()
    };
    let (answered, errors) = (sum(|counts| &counts.answered), sum(|counts| &counts.errors));
    Progress { elapsed, warm: elapsed.as_ns() >= timing.warm_ns, answered, errors }
}

fn measured(plan: &Plan, seconds: f64, results: &[ThreadResult], costs: Costs) -> Measured {
    let mut stats = Stats::new(0, u64::MAX);
    for result in results {
        stats.add(&result.stats);
    }
    let server = costs.server.map(|cost| {
        cost.map(|(before, after)| ServerCost {
            cpu_ns: after.cpu_ns_since(&before),
            resident_bytes: (before.resident_bytes, after.resident_bytes),
        })
    });
    Measured {
        pace: plan.pace,
        seconds,
        stats,
        backlog: results.iter().map(|result| result.backlog).sum(),
        reconnects: results.iter().map(|result| result.reconnects).sum(),
        reconnected_because: results.iter().find_map(|result| result.reconnected_because.clone()),
        server,
        generator_cpu_ns: costs.generator.1.cpu_ns_since(&costs.generator.0),
    }
}

/// The longest time until the end of a run, or its interruption, is noticed.
const LOOK_NS: u64 = 20_000_000;
