//! Turns of connections that have not earned them.
//!
//! Tasks of a thread run in the order in which they became ready, so a peer that opens hundreds of connections would have hundreds of turns
//! for each turn of another one. A connection is on probation from its beginning, and again when it sends much that asks for nothing, until
//! its peer has read the answers to what it asked. Of the connections of a thread that are on probation, one has a turn at a time, and only
//! after everything that the sockets have for the others was done. A connection that is in use never waits for them; a new one waits for
//! those that are new with it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::slots::Slot;
use crate::runtime::clock::Stopwatch;

/// The connections of one thread that wait for a turn. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Probation(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// The time that turns took since the last pause.
    taken: Duration,
    /// Each connection is in it once.
    line: VecDeque<(Arc<Place>, Waker)>,
    /// The task of [`Probation::give_turns`], while the line is empty.
    giver: Option<Waker>,
}

/// Where a connection is: [`OUTSIDE`], [`IN_LINE`] or [`ITS_TURN`].
#[derive(Debug, Default)]
struct Place(AtomicU8);

const OUTSIDE: u8 = 0;
const IN_LINE: u8 = 1;
const ITS_TURN: u8 = 2;

impl Probation {
    /// Gives a turn to one connection after the other, for ever. Between two of them the runtime looks at its sockets and runs what is ready.
    /// The turns take at most two thirds of the time, so that they do not use up the CPU quota of a container.
    pub(super) async fn give_turns(self) {
        loop {
            let (place, waker) = poll_fn(|cx| self.poll_first(cx)).await;
            place.0.store(ITS_TURN, Ordering::Relaxed);
            waker.wake();
            tokio::task::yield_now().await;
            let taken = self.0.lock().taken;
            if taken >= MAX_TAKEN {
                tokio::time::sleep(taken / 2).await;
                self.0.lock().taken = Duration::ZERO;
            }
        }
    }

    fn poll_first(&self, cx: &mut Context<'_>) -> Poll<(Arc<Place>, Waker)> {
        let mut waiting = self.0.lock();
        if let Some(first) = waiting.line.pop_front() {
            return Poll::Ready(first);
        }
        waiting.giver = Some(cx.waker().clone());
        Poll::Pending
    }

    fn stand_in_line(&self, place: &Arc<Place>, waker: &Waker) {
        place.0.store(IN_LINE, Ordering::Relaxed);
        let mut waiting = self.0.lock();
        waiting.line.push_back((Arc::clone(place), waker.clone()));
        let giver = waiting.giver.take();
        drop(waiting);
        if let Some(giver) = giver {
            giver.wake();
        }
    }

    /// Runs a connection whenever it is ready, and while it is on probation when it is its turn. Cost of the former: two loads.
    pub(super) async fn run<F: Future>(self, connection: F, slot: Arc<Slot>) -> F::Output {
        let mut connection = pin!(connection);
        let place = Arc::<Place>::default();
        poll_fn(|cx| {
            match place.0.load(Ordering::Relaxed) {
                IN_LINE if slot.is_on_probation() => return Poll::Pending,
                OUTSIDE if slot.is_on_probation() => {
                    self.stand_in_line(&place, cx.waker());
                    return Poll::Pending;
                }
                ITS_TURN => {
                    place.0.store(OUTSIDE, Ordering::Relaxed);
                    let stopwatch = Stopwatch::start();
                    let ended = connection.as_mut().poll(cx);
                    let mut waiting = self.0.lock();
                    waiting.taken = waiting.taken.saturating_add(Duration::from_nanos(stopwatch.elapsed().as_ns()));
                    return ended;
                }
                _ => {}
            }
            connection.as_mut().poll(cx)
        })
        .await
    }
}

/// The time that turns take before a pause of half as long, which is the resolution of the runtime's timer.
const MAX_TAKEN: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// A hundred new connections that are always ready, next to one that is in use: it has two turns for each of theirs.
    #[tokio::test(start_paused = true)]
    async fn a_connection_in_use_waits_for_one_new_one_at_most() {
        let probation = Probation::default();
        let turns = Rc::new(Cell::new(0_u32));
        let between = Rc::new(RefCell::new(Vec::new()));
        let local = LocalSet::new();
        let _giving = local.spawn_local(probation.clone().give_turns());
        let new: Vec<_> = (0..100)
            .map(|_| {
                let turns = Rc::clone(&turns);
                let connection = async move {
                    for _ in 0..5 {
                        turns.set(turns.get() + 1);
                        yield_now().await;
                    }
                };
                local.spawn_local(probation.clone().run(connection, Slot::alone()))
            })
            .collect();
        let in_use = Slot::alone();
        in_use.earn();
        let (seen, all) = (Rc::clone(&between), Rc::clone(&turns));
        let connection = async move {
            for _ in 0..100 {
                let before = all.get();
                yield_now().await;
                seen.borrow_mut().push(all.get() - before);
            }
        };
        let used = local.spawn_local(probation.run(connection, in_use));
        local
            .run_until(async {
                used.await.unwrap();
                for connection in new {
                    connection.await.unwrap();
                }
            })
            .await;
        assert!(between.borrow().iter().all(|turns| *turns <= 1), "{between:?}");
        assert_eq!(turns.get(), 500, "each new one has all its turns");
    }
}
