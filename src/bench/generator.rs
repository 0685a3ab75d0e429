//! One thread of the generator, and its connections.

use std::cell::RefCell;
use std::hint::spin_loop;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio::task::{LocalSet, yield_now};
use tokio::time::sleep;

use super::failure::Failure;
use super::opening::{Opened, StartError, open};
use super::plan::Plan;
use super::schedule::Schedule;
use super::socket::Reader;
use super::stats::Stats;
use super::template::Template;
use super::traffic::Picks;
use super::worker::{Connection, LiveCounts, ThreadResult, Timing, Worker};
use crate::runtime::clock::Stopwatch;
use crate::units::Nanos;

/// The open connections of a thread.
pub(super) struct Generator {
    plan: Arc<Plan>,
    opened: Vec<(usize, Opened)>,
    local: LocalSet,
    runtime: tokio::runtime::Runtime,
    template: Template,
    picks: Picks,
}

impl Generator {
    /// Opens the connections of thread number `thread`: those whose number modulo the number of threads is `thread`.
    pub(super) fn connect(plan: Arc<Plan>, thread: usize) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StartError::Setup(format!("no runtime: {error}")))?;
        let seed = plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread as u64);
        let picks = Picks::new(&plan.traffic, seed).map_err(StartError::Setup)?;
        let template = Template::new(&plan.traffic, &plan.authority(), plan.tls.is_some());
        let mut opened = Vec::new();
        for index in (thread..plan.connections).step_by(plan.threads) {
            opened.push((index, runtime.block_on(open(&plan))?));
        }
        Ok(Self { plan, opened, local: LocalSet::new(), runtime, template, picks })
    }

    /// Sends checks when they are due until the end, then waits for the remaining answers for some time.
    pub(super) fn run(self, timing: &Arc<Timing>, counts: &Arc<LiveCounts>) -> ThreadResult {
        let Self { plan, opened, local, runtime, template, picks } = self;
        let (mut connections, mut readers) = (Vec::new(), Vec::new());
        for (index, Opened { session, reader, writer, buffer }) in opened {
            let end_ns = timing.end_ns();
            let seed = plan.seed.wrapping_add(index as u64);
            let schedule = Schedule::new(plan.pace, index, plan.connections, end_ns, seed);
            connections.push(Connection { session, writer: Some(Rc::new(writer)), schedule });
            readers.push((reader, buffer));
        }
        let stats = Stats::new(timing.warm_ns, timing.end_ns());
        let result = ThreadResult { stats, backlog: 0, reconnects: 0, reconnected_because: None };
        let worker = Worker {
            plan,
            timing: Arc::clone(timing),
            counts: Arc::clone(counts),
            connections,
            template,
            picks,
            result,
            asleep_until_ns: 0,
            alarm: Rc::new(Notify::new()),
        };
        let worker = Rc::new(RefCell::new(worker));
        for (at, (reader, begun)) in readers.into_iter().enumerate() {
            local.spawn_local(serve(Rc::clone(&worker), at, reader, begun));
        }
        runtime.block_on(local.run_until(pace(&worker)));
        // This ends the tasks, which share the worker.
        drop(local);
        let mut worker = worker.borrow_mut();
        worker.count();
        std::mem::replace(&mut worker.result, ThreadResult::empty())
    }
}

/// Reads one connection, and opens it again when it is lost, until the run is over.
async fn serve(worker: Rc<RefCell<Worker>>, at: usize, mut reader: Reader, mut begun: Vec<u8>) {
    loop {
        let lived = Stopwatch::start();
        let why = read(&worker, at, reader, &begun).await;
        worker.borrow_mut().lose(at, &why);
        if lived.elapsed() < RECONNECT_PAUSE {
            sleep(RECONNECT_PAUSE.into()).await;
        }
        let plan = Arc::clone(&worker.borrow().plan);
        let again = loop {
            if worker.borrow().is_over() {
                return;
            }
            match open(&plan).await {
                Ok(opened) => break opened,
                Err(_) => sleep(RECONNECT_PAUSE.into()).await,
            }
        };
        (reader, begun) = (again.reader, again.buffer);
        worker.borrow_mut().replace(at, again.session, again.writer);
    }
}

/// Reads one connection to its end. Returns why it ended.
async fn read(worker: &RefCell<Worker>, at: usize, mut reader: Reader, begun: &[u8]) -> String {
    let mut buffer = begun.to_vec();
    let mut filled = buffer.len();
    buffer.resize(READ_BYTES.max(filled), 0);
    loop {
        let writer = {
            let worker = worker.borrow();
            let connection = worker.connections.get(at).filter(|connection| !connection.session.pending().is_empty());
            connection.and_then(|connection| connection.writer.clone())
        };
        let Some(room) = buffer.get_mut(filled..) else { return "a frame is too long".to_owned() };
        let read = if let Some(writer) = writer {
            tokio::select! {
                read = reader.read(room) => read,
                _ = writer.writable() => {
                    let mut worker = worker.borrow_mut();
                    let now_ns = worker.timing.now_ns();
                    worker.flush_due(at, now_ns);
                    continue;
                }
            }
        } else {
            reader.read(room).await
        };
        match read {
            Ok(0) => return "the server closed the connection".to_owned(),
            Err(error) => return error.to_string(),
            Ok(count) => filled += count,
        }
        match worker.borrow_mut().receive(at, buffer.get(..filled).unwrap_or_default()) {
            Ok(taken) => {
                buffer.copy_within(taken..filled, 0);
                filled -= taken;
            }
            Err(why) => return why,
        }
    }
}

/// Sends the checks of a thread's connections on schedule, until the end.
///
/// The timer of the runtime has a resolution of a millisecond, so for the last two before a check is due the thread polls its
/// sockets without pause. This is precise to a few microseconds, and uses a whole core above 500 checks a second.
async fn pace(worker: &RefCell<Worker>) {
    let alarm = Rc::clone(&worker.borrow().alarm);
    let mut first = true;
    loop {
        let next = worker.borrow_mut().send_what_is_due(first);
        let Some(wait_ns) = next else { break };
        first = false;
        if wait_ns < SPIN_NS {
            // Leaves the core to its other hyper-thread, if it has one, for about half a microsecond.
            (0..PAUSES).for_each(|_| spin_loop());
            yield_now().await;
        } else {
            let wait = Nanos::from_ns((wait_ns - SPIN_NS).min(LOOK_NS));
            tokio::select! {
                () = sleep(wait.into()) => {}
                () = alarm.notified() => {}
            }
        }
    }
    finish(worker).await;
}

/// Waits some time for outstanding answers and late checks, then counts those that are missing.
async fn finish(worker: &RefCell<Worker>) {
    let end_ns = worker.borrow().timing.end_ns();
    let at_end: Vec<Schedule> = {
        let mut worker = worker.borrow_mut();
        worker.result.stats.end_at(end_ns);
        worker.connections.iter_mut().for_each(|connection| connection.schedule.end_at(end_ns));
        worker.connections.iter().map(|connection| connection.schedule.clone()).collect()
    };
    let waited = Stopwatch::start();
    while waited.elapsed() < GRACE {
        {
            let mut worker = worker.borrow_mut();
            let now_ns = worker.timing.now_ns();
            (0..worker.connections.len()).for_each(|at| worker.flush_due(at, now_ns));
            if !worker.connections.iter().any(Connection::is_unfinished) {
                break;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    let mut worker = worker.borrow_mut();
    let worker = &mut *worker;
    let warm_ns = worker.timing.warm_ns;
    worker.result.backlog = at_end.iter().map(|schedule| schedule.left_from(warm_ns)).sum();
    for connection in &mut worker.connections {
        connection.session.abandon(Failure::Unanswered, "", &mut worker.result.stats);
        let left = connection.schedule.left_from(warm_ns);
        worker.result.stats.fail_many(left, Failure::NeverSent, "");
    }
}

/// Enough for the answers to some hundred checks.
const READ_BYTES: usize = 128 << 10;
/// How long before a check is due the thread starts to poll.
const SPIN_NS: u64 = 2_000_000;
const PAUSES: u32 = 16;
/// The longest sleep, because the end of the run may be moved forward.
const LOOK_NS: u64 = 5_000_000;
/// How long to wait for answers after the end.
const GRACE: Nanos = Nanos::from_secs(5);
/// Between two attempts to open a connection again.
const RECONNECT_PAUSE: Nanos = Nanos::from_ns(100_000_000);
