//! One thread of the generator, and its connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::task::{LocalSet, yield_now};
use tokio::time::sleep;

use super::failure::Failure;
use super::opening::{Opened, StartError, open};
use super::run::Plan;
use super::schedule::Schedule;
use super::session::Session;
use super::socket::{Reader, Writer};
use super::tally::Tally;
use super::template::Template;
use super::traffic::Picks;
use crate::clock::Stopwatch;
use crate::units::Nanos;

/// When a run begins and ends. Instants are nanoseconds since `began`.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) began: Stopwatch,
    /// From here on checks count.
    pub(super) warm_ns: u64,
    /// No check is due from here on; may be drawn near while the run goes on.
    pub(super) end_ns: AtomicU64,
}

impl Timing {
    pub(super) fn now_ns(&self) -> u64 {
        self.began.elapsed().as_ns()
    }

    pub(super) fn end_ns(&self) -> u64 {
        self.end_ns.load(Ordering::Relaxed)
    }
}

/// How far a thread is, for whoever watches. Written by that thread alone.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) answered: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// What a thread measured.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) tally: Tally,
    /// Checks that were due at the end and had not been sent.
    pub(super) backlog: u64,
    /// Connections that were made anew.
    pub(super) reconnects: u64,
    /// Why, the first time.
    pub(super) reconnected_because: Option<String>,
}

/// A thread's connections, made and greeted.
pub(super) struct Generator {
    plan: Arc<Plan>,
    opened: Vec<(usize, Opened)>,
    local: LocalSet,
    runtime: tokio::runtime::Runtime,
    template: Template,
    picks: Picks,
}

impl Generator {
    /// Connects thread number `thread`: every connection whose number leaves that rest.
    pub(super) fn connect(plan: Arc<Plan>, thread: usize) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StartError::Setup(format!("no runtime: {error}")))?;
        let seed = plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread as u64);
        let picks = Picks::new(&plan.traffic, seed).map_err(StartError::Setup)?;
        let template = Template::new(&plan.traffic, &plan.authority());
        let mut opened = Vec::new();
        for index in (thread..plan.connections).step_by(plan.threads) {
            opened.push((index, runtime.block_on(open(&plan))?));
        }
        Ok(Self { plan, opened, local: LocalSet::new(), runtime, template, picks })
    }

    /// Sends what is due until the end, and waits for the answers, for a while.
    pub(super) fn run(self, timing: &Arc<Timing>, counts: &Arc<Counts>) -> Share {
        let Self { plan, opened, local, runtime, template, picks } = self;
        let (mut lines, mut readers) = (Vec::new(), Vec::new());
        for (index, Opened { session, reader, writer, buffer }) in opened {
            let end_ns = timing.end_ns();
            let seed = plan.seed.wrapping_add(index as u64);
            let schedule = Schedule::new(plan.pace, index, plan.connections, end_ns, seed);
            lines.push(Line { session, writer: Some(Rc::new(writer)), schedule });
            readers.push((reader, buffer));
        }
        let tally = Tally::new(timing.warm_ns, timing.end_ns());
        let share = Share { tally, backlog: 0, reconnects: 0, reconnected_because: None };
        let worker =
            Worker { plan, timing: Arc::clone(timing), counts: Arc::clone(counts), lines, template, picks, share };
        let worker = Rc::new(RefCell::new(worker));
        for (at, (reader, begun)) in readers.into_iter().enumerate() {
            local.spawn_local(serve(Rc::clone(&worker), at, reader, begun));
        }
        runtime.block_on(local.run_until(pace(&worker)));
        // The tasks end here; they hold the worker too.
        drop(local);
        let mut worker = worker.borrow_mut();
        worker.count();
        std::mem::replace(&mut worker.share, Share::empty())
    }
}

impl Share {
    pub(super) fn empty() -> Self {
        Self { tally: Tally::new(0, u64::MAX), backlog: 0, reconnects: 0, reconnected_because: None }
    }
}

/// What the tasks of a thread share; none holds it while it waits.
struct Worker {
    plan: Arc<Plan>,
    timing: Arc<Timing>,
    counts: Arc<Counts>,
    lines: Vec<Line>,
    template: Template,
    picks: Picks,
    share: Share,
}

/// A connection and its part of the schedule, which goes on when it is made anew.
struct Line {
    session: Session,
    /// Nothing while there is no connection.
    writer: Option<Rc<Writer>>,
    schedule: Schedule,
}

impl Worker {
    /// Makes what is due on one connection, and writes what the kernel takes.
    fn pump(&mut self, at: usize, now_ns: u64) {
        let Some(line) = self.lines.get_mut(at) else { return };
        let Some(writer) = &line.writer else { return };
        // What the kernel does not take is offered again when there is more to say, or it can be written.
        loop {
            line.session.fill(now_ns, &mut line.schedule, &mut self.template, &mut self.picks);
            let pending = line.session.pending();
            if pending.is_empty() {
                return;
            }
            match writer.try_write(pending) {
                Ok(sent) if sent == pending.len() => {
                    line.session.sent(sent);
                    if !line.session.has_room() || line.schedule.next_due().is_none_or(|due| due > now_ns) {
                        return;
                    }
                }
                Ok(sent) => return line.session.sent(sent),
                // Whoever reads the connection notices that it is gone.
                Err(_) => return,
            }
        }
    }

    /// Takes what arrived: how much of it, or why the connection is of no more use.
    fn take(&mut self, at: usize, bytes: &[u8]) -> Result<usize, String> {
        let now_ns = self.timing.now_ns();
        let Some(line) = self.lines.get_mut(at) else { return Ok(bytes.len()) };
        let taken = line.session.receive(bytes, now_ns, &mut self.share.tally).map_err(str::to_owned)?;
        if line.session.is_spent() {
            return Err("the server is going away, or stream numbers are used up".to_owned());
        }
        self.pump(at, now_ns);
        self.count();
        Ok(taken)
    }

    fn count(&self) {
        let tally = &self.share.tally;
        self.counts.answered.store(tally.ok + tally.over_limit, Ordering::Relaxed);
        self.counts.errors.store(tally.errors(), Ordering::Relaxed);
    }

    /// The connection is gone, and so are the checks on it.
    fn lose(&mut self, at: usize, why: &str) {
        let Some(line) = self.lines.get_mut(at) else { return };
        line.session.abandon(Failure::ConnectionLost, why, &mut self.share.tally);
        line.writer = None;
        self.share.reconnected_because.get_or_insert_with(|| why.to_owned());
        self.count();
    }

    fn replace(&mut self, at: usize, session: Session, writer: Writer) {
        let now_ns = self.timing.now_ns();
        let Some(line) = self.lines.get_mut(at) else { return };
        (line.session, line.writer) = (session, Some(Rc::new(writer)));
        self.share.reconnects += 1;
        self.pump(at, now_ns);
    }

    fn is_over(&self) -> bool {
        self.timing.now_ns() >= self.timing.end_ns()
    }
}

/// Reads one connection, and makes it anew when it is lost, until the run is over.
async fn serve(worker: Rc<RefCell<Worker>>, at: usize, mut reader: Reader, mut begun: Vec<u8>) {
    loop {
        let why = read(&worker, at, reader, &begun).await;
        worker.borrow_mut().lose(at, &why);
        let plan = Arc::clone(&worker.borrow().plan);
        let again = loop {
            if worker.borrow().is_over() {
                return;
            }
            match open(&plan).await {
                Ok(opened) => break opened,
                Err(_) => sleep(RECONNECT_PAUSE).await,
            }
        };
        (reader, begun) = (again.reader, again.buffer);
        worker.borrow_mut().replace(at, again.session, again.writer);
    }
}

/// Reads one connection to its end, and tells why that came.
async fn read(worker: &RefCell<Worker>, at: usize, mut reader: Reader, begun: &[u8]) -> String {
    let mut buffer = begun.to_vec();
    let mut filled = buffer.len();
    buffer.resize(READ_BYTES.max(filled), 0);
    loop {
        let writer = {
            let worker = worker.borrow();
            let line = worker.lines.get(at).filter(|line| !line.session.pending().is_empty());
            line.and_then(|line| line.writer.clone())
        };
        let Some(room) = buffer.get_mut(filled..) else { return "a frame is too long".to_owned() };
        let read = if let Some(writer) = writer {
            tokio::select! {
                read = reader.read(room) => read,
                _ = writer.writable() => {
                    let mut worker = worker.borrow_mut();
                    let now_ns = worker.timing.now_ns();
                    worker.pump(at, now_ns);
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
        match worker.borrow_mut().take(at, buffer.get(..filled).unwrap_or_default()) {
            Ok(taken) => {
                buffer.copy_within(taken..filled, 0);
                filled -= taken;
            }
            Err(why) => return why,
        }
    }
}

/// Keeps the schedule of a thread's connections, to the end.
///
/// The runtime's timer is good to a millisecond, so the last two before a check is due are spent looking at the sockets
/// again and again. That is exact to a few microseconds, and takes the whole core at more than 500 checks a second.
async fn pace(worker: &RefCell<Worker>) {
    let mut first = true;
    loop {
        let (now_ns, next_ns) = {
            let mut worker = worker.borrow_mut();
            let worker = &mut *worker;
            let now_ns = worker.timing.now_ns();
            if now_ns >= worker.timing.end_ns() {
                break;
            }
            let mut next_ns = u64::MAX;
            for at in 0..worker.lines.len() {
                if worker.lines.get(at).is_some_and(|line| line.is_due(now_ns)) && (first || worker.plan.is_open()) {
                    worker.pump(at, now_ns);
                }
                let line = worker.lines.get(at).filter(|line| line.writer.is_some());
                next_ns = next_ns.min(line.and_then(|line| line.schedule.next_due()).unwrap_or(u64::MAX));
            }
            first = false;
            (now_ns, if worker.plan.is_open() { next_ns } else { u64::MAX })
        };
        match next_ns.saturating_sub(now_ns) {
            0..SPIN_NS => yield_now().await,
            wait_ns => sleep(Nanos::from_ns((wait_ns - SPIN_NS).min(LOOK_NS)).into()).await,
        }
    }
    finish(worker).await;
}

impl Line {
    fn is_due(&self, now_ns: u64) -> bool {
        self.writer.is_some() && self.session.has_room() && self.schedule.next_due().is_some_and(|due| due <= now_ns)
    }
}

/// Waits for the answers that are still to come, and for checks that are late, for a while; then tells what is missing.
async fn finish(worker: &RefCell<Worker>) {
    let end_ns = worker.borrow().timing.end_ns();
    let at_end: Vec<Schedule> = {
        let mut worker = worker.borrow_mut();
        worker.lines.iter_mut().for_each(|line| line.schedule.end_at(end_ns));
        worker.lines.iter().map(|line| line.schedule.clone()).collect()
    };
    let waited = Stopwatch::start();
    while waited.elapsed() < GRACE {
        {
            let mut worker = worker.borrow_mut();
            let now_ns = worker.timing.now_ns();
            (0..worker.lines.len()).for_each(|at| worker.pump(at, now_ns));
            if !worker
                .lines
                .iter()
                .any(|line| line.writer.is_some() && (line.session.under_way() > 0 || line.schedule.has_left()))
            {
                break;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    let mut worker = worker.borrow_mut();
    let worker = &mut *worker;
    let warm_ns = worker.timing.warm_ns;
    worker.share.backlog = at_end.iter().map(|schedule| schedule.left_from(warm_ns)).sum();
    for line in &mut worker.lines {
        line.session.abandon(Failure::Unanswered, "", &mut worker.share.tally);
        let left = line.schedule.left_from(warm_ns);
        worker.share.tally.fail_many(left, Failure::NeverSent, "");
    }
}

/// Holds the answers to some hundred checks.
const READ_BYTES: usize = 128 << 10;
/// How long before a check is due the thread stops sleeping.
const SPIN_NS: u64 = 2_000_000;
/// The longest sleep: the end may be drawn near.
const LOOK_NS: u64 = 5_000_000;
/// How long answers are awaited after the end.
const GRACE: Nanos = Nanos::from_secs(5);
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
