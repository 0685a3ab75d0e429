//! Background threads, with a lower priority than the threads that decide.
//!
//! Reports to a hundred observers, a query of the history, a text of metrics or a step of the sweep take up to milliseconds of a
//! core. On few cores, a check that arrives meanwhile would wait until the scheduler's time slice is over. With a lower priority
//! for these threads, checks are decided first. On a busy core, background threads and those of the HTTP port still get a quarter
//! of it, and threads for observers nearly nothing.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, current};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A background thread, with a lower priority than decisions, that runs until it is stopped.
///
/// Dropping it stops the thread and waits for its end, so its work between two waits must be short; see
/// [`Worker::stop_within`] otherwise.
#[derive(Debug)]
pub struct Worker {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// The signal on which the thread of a [`Worker`] waits.
#[derive(Debug)]
pub struct Stop(Arc<Signal>);

/// Ends a wait of a [`Worker`] early.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Signal>);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wait {
    /// The time has passed.
    Elapsed,
    /// A [`Waker`] ended it. Reported before [`Wait::Stopped`], so that the work it was woken for is still done.
    Woken,
    /// The thread has to end.
    Stopped,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    stopped: bool,
    ended: bool,
}

impl Signal {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }
}

impl Worker {
    /// Starts a thread with this name (the system shows 15 bytes of it). `body` must return when [`Stop::wait`] returns
    /// [`Wait::Stopped`].
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn spawn<F>(name: &str, body: F) -> io::Result<Self>
    where
        F: FnOnce(&Stop) + Send + 'static,
    {
        let signal = Arc::<Signal>::default();
        let stop = Stop(Arc::clone(&signal));
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            lower_priority(STEPS);
            body(&stop);
        })?;
        Ok(Self { signal, thread: Some(thread) })
    }

    /// A waker for this worker.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.signal))
    }

    /// Stops the thread, and waits for its end.
    pub fn stop(&mut self) {
        self.signal.change(|state| state.stopped = true);
        // A worker that is dropped by its own thread cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != current().id()) {
            // A panic of the thread was reported already.
            let _ended = thread.join();
        }
    }

    /// Stops the thread, and waits for its end for at most `timeout`; after that the thread is detached. Returns whether it has
    /// ended.
    pub fn stop_within(&mut self, timeout: Duration) -> bool {
        self.signal.change(|state| state.stopped = true);
        let mut state = self.signal.state.lock();
        self.signal.changed.wait_while_for(&mut state, |state| !state.ended, timeout);
        let ended = state.ended;
        drop(state);
        if !ended {
            self.thread = None;
        }
        self.stop();
        ended
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Stop {
    /// Waits for `length`, or until the worker is woken or stopped.
    pub fn wait(&self, length: Duration) -> Wait {
        let mut state = self.0.state.lock();
        self.0.changed.wait_while_for(&mut state, |state| !state.woken && !state.stopped, length);
        match *state {
            State { woken: true, .. } => {
                state.woken = false;
                Wait::Woken
            }
            State { stopped: true, .. } => Wait::Stopped,
            State { .. } => Wait::Elapsed,
        }
    }

    /// Whether the thread has to end. Does not wait.
    pub fn is_stopped(&self) -> bool {
        self.0.state.lock().stopped
    }

    /// A waker for this worker.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.0))
    }
}

/// Marks the thread as ended, also after a panic.
impl Drop for Stop {
    fn drop(&mut self) {
        self.0.change(|state| state.ended = true);
    }
}

impl Waker {
    /// Ends the current wait, or else the next one.
    pub fn wake(&self) {
        self.0.change(|state| state.woken = true);
    }
}

/// Gives the calling thread the priority of a [`Worker`], for the rest of its life.
pub fn use_low_priority() {
    lower_priority(STEPS);
}

/// Gives the calling thread the lowest priority, for the rest of its life. On a busy core it gets nearly nothing.
pub fn use_lowest_priority() {
    lower_priority(LAST);
}

fn lower_priority(steps: i32) {
    // On Linux each thread has its own priority. Lowering it always succeeds; if not, the priority is unchanged.
    let _as_before = rustix::process::nice(steps);
}

/// Steps of niceness: each reduces the share of a contended core by a fifth, so after five the shares are 1 to 3.
const STEPS: i32 = 5;
/// The lowest priority: a seventieth of a contended core.
const LAST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    #[test]
    fn a_worker_gives_way_and_the_others_keep_their_priority() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        Worker::spawn("background", move |_| send.send(own()).unwrap()).unwrap().stop();
        assert_eq!(receive.recv().unwrap(), (before + STEPS).min(19));
        assert_eq!(own(), before);
    }

    #[test]
    fn waits_elapse_are_woken_and_end() {
        let (send, waits) = std::sync::mpsc::channel();
        let mut worker = Worker::spawn("waits", move |stop| {
            send.send(stop.wait(Duration::from_millis(1))).unwrap();
            loop {
                let wait = stop.wait(LONG);
                send.send(wait).unwrap();
                if wait == Wait::Stopped {
                    return;
                }
            }
        })
        .unwrap();
        assert_eq!(waits.recv(), Ok(Wait::Elapsed));
        worker.waker().wake();
        assert_eq!(waits.recv(), Ok(Wait::Woken));
        worker.stop();
        assert_eq!(waits.iter().collect::<Vec<_>>(), [Wait::Stopped]);
        worker.stop();
    }

    #[test]
    fn what_a_worker_was_woken_for_is_done_before_it_stops() {
        let (send, waits) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut worker = Worker::spawn("woken", move |stop| {
            gone.recv().unwrap();
            send.send((stop.wait(LONG), stop.wait(LONG))).unwrap();
        })
        .unwrap();
        worker.waker().wake();
        worker.signal.change(|state| state.stopped = true);
        go.send(()).unwrap();
        worker.stop();
        assert_eq!(waits.recv(), Ok((Wait::Woken, Wait::Stopped)));
    }

    #[test]
    fn a_worker_that_is_late_is_left_to_itself_and_one_that_panics_has_ended() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut late = Worker::spawn("late", move |_| gone.recv().unwrap()).unwrap();
        assert!(!late.stop_within(Duration::from_millis(1)));
        go.send(()).unwrap();
        let mut panics = Worker::spawn("panics", |_| panic!("a test of a worker that panics")).unwrap();
        assert!(panics.stop_within(LONG));
    }
}
