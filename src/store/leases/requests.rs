//! Requests of leases: made by [`ask`](Leases::ask), each ended by exactly one of `answered`, `not_sent` and `lost`.

use std::sync::atomic::Ordering;

use super::{Heard, LeaseCell, Leases, count};
use crate::engine::Limit;
use crate::store::LimitId;
use crate::store::charging::{Shard, Shards};
use crate::store::lease::{Answer, Ask, Now, Terms, Wish};
use crate::units::Timestamp;

/// What a lease asks the engine.
#[derive(Clone, Debug)]
pub struct LeaseAsk {
    key: Box<[u8]>,
    /// The name of the counter on the engine.
    pub name: Box<str>,
    /// By which hits are granted.
    pub terms: Terms,
    /// What is asked.
    pub ask: Ask,
    epoch: u32,
}

impl LeaseAsk {
    /// The key of the lease.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Leases {
    /// The name on the engine of the counter of a lease.
    pub fn name(&self, key: &[u8]) -> Option<Box<str>> {
        let mut name = None;
        self.change(key, |cell| name = Some(cell.name.clone()));
        name
    }

    /// The next request of a lease; `None`: there is nothing to ask or to say, or a request is under way.
    pub fn ask(&self, key: &[u8], now: Now) -> Option<LeaseAsk> {
        let mut asked = None;
        self.change(key, |cell| {
            cell.is_called = false;
            if self.is_draining() {
                cell.terms = cell.terms.just_hits();
            }
            let (name, terms, epoch) = (cell.name.clone(), cell.terms, cell.epoch);
            let ask = cell.lease.ask(&terms, now);
            asked = ask.map(|ask| LeaseAsk { key: key.into(), name, terms, ask, epoch });
        });
        asked
    }

    /// The engine has answered. The checks that wait are woken. Returns what the lease wishes next.
    pub fn answered(&self, asked: &LeaseAsk, answer: &Answer, now: Now) -> Wish {
        count(&self.counts.granted, answer.at_once.saturating_add(answer.lease));
        count(&self.counts.returned, asked.ask.returned);
        self.end(asked, now, Heard::Answered, |cell| cell.lease.answered(&cell.terms, &asked.ask, answer, now))
    }

    /// The request was certainly not executed: what it said is said by the next one.
    pub fn not_sent(&self, asked: &LeaseAsk, now: Now) {
        self.end(asked, now, Heard::Failed, |cell| cell.lease.not_sent(&cell.terms, &asked.ask, now));
    }

    /// The request may have been executed, and there is no answer.
    pub fn lost(&self, asked: &LeaseAsk, now: Now) {
        self.end(asked, now, Heard::Failed, |cell| cell.lease.lost(&cell.terms, &asked.ask));
    }

    /// The answer to a request that was given up as lost.
    pub fn late(&self, asked: &LeaseAsk, answer: &Answer, now: Now) {
        count(&self.counts.granted, answer.at_once.saturating_add(answer.lease));
        count(&self.counts.returned, asked.ask.returned);
        self.change(&asked.key, |cell| {
            cell.lease.late(&cell.terms, &asked.ask, answer, now);
            cell.return_of_other_epoch(asked, now);
            count(&self.counts.lapsed, cell.lease.take_lapsed());
        });
    }

    fn end(&self, asked: &LeaseAsk, now: Now, heard: Heard, end: impl FnOnce(&mut LeaseCell)) -> Wish {
        let mut wish = Wish::Nothing;
        self.change(&asked.key, |cell| {
            end(cell);
            cell.return_of_other_epoch(asked, now);
            cell.waiters.wake(&cell.lease, heard);
            cell.settle(now);
            count(&self.counts.lapsed, cell.lease.take_lapsed());
            wish = cell.lease.wish(&cell.terms, now);
            cell.is_called |= wish != Wish::Nothing;
        });
        wish
    }

    /// Lets go of leases that have ended and of what is not needed, and reports those that wish to ask. To be called every 50 ms or so, for
    /// each stripe.
    ///
    /// Cost: that of the leases that hold or want something, in stripes where one of them is due; a shard is locked for its own.
    pub fn tick(&self, stripe: usize, now: Now, mut wishing: impl FnMut(&[u8], Wish)) {
        let is_draining = self.is_draining();
        if !is_draining && !self.due.begin(stripe, now.local) {
            return;
        }
        let mut due = Timestamp::MAX;
        self.cells.visit_changed(stripe, |key, cell| {
            if is_draining {
                cell.lease.drain(&cell.terms, now);
            }
            cell.settle(now);
            let wish = cell.lease.tick(&cell.terms, now);
            count(&self.counts.lapsed, cell.lease.take_lapsed());
            if wish != Wish::Nothing {
                cell.is_called = true;
                wishing(key, wish);
            }
            let stays = !cell.lease.is_at_rest() || !cell.waiters.is_empty();
            if stays {
                let is_awaited = wish != Wish::Nothing || !cell.waiters.is_empty();
                due = due.min(if is_awaited { now.local } else { cell.lease.due(&cell.terms, now) });
            }
            stays
        });
        self.due.end(stripe, due);
    }

    /// The number of stripes.
    pub fn stripes(&self) -> usize {
        self.cells.stripes()
    }

    /// Gives everything back that is in hand, and from now on asks for just the hits of checks: the process ends. [`tick`](Self::tick)
    /// reports which leases have to say so.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether everything goes back, because the process ends.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whether a lease holds hits, or a request about one is under way. Cost: a pass over those that were used or hold something.
    pub fn is_any_held(&self) -> bool {
        let mut is_held = false;
        for stripe in 0..self.stripes() {
            self.cells.visit_changed(stripe, |_, cell| {
                is_held |= !cell.lease.is_at_rest();
                true
            });
        }
        is_held
    }

    /// Has each lease follow the limit that is in force for its counter; what was granted by another one goes back. `None`: there is no
    /// limit, and everything goes back. Request overrides bring their own.
    ///
    /// Cost: a pass over the leases that hold or want something.
    pub fn follow(&self, now: Now, limit_of: impl Fn(&[u8]) -> Option<Limit>) {
        for stripe in 0..self.stripes() {
            self.due.hurry(stripe);
            self.cells.visit_changed(stripe, |key, cell| {
                if LimitId::of_key(key) == Some(LimitId::OVERRIDE) {
                    return true;
                }
                let terms = limit_of(key).and_then(|limit| Terms::new(&limit, cell.terms.replicas()).ok());
                match terms {
                    Some(terms) => cell.follow(&terms, now),
                    None => cell.lease.drain(&cell.terms, now),
                }
                true
            });
        }
    }

    /// Changes a lease, if it exists.
    pub(super) fn change(&self, key: &[u8], change: impl FnOnce(&mut LeaseCell)) {
        let location = self.cells.locate(key);
        if let Some(mut shard) = self.cells.lock(location)
            && let Some((cell, _)) = shard.state_mut(location, key)
        {
            change(cell);
            self.due.hurry(location.stripe);
        }
    }
}

impl LeaseCell {
    /// What was granted to checks and not spent stays a lease, once none of them is about to spend it.
    pub(super) fn settle(&mut self, now: Now) {
        if self.waiters.are_decided() {
            self.lease.settle(&self.terms, now);
        }
    }

    /// What was granted by the terms of another epoch goes back.
    fn return_of_other_epoch(&mut self, asked: &LeaseAsk, now: Now) {
        if asked.epoch != self.epoch {
            self.lease.settle(&self.terms, now);
            self.lease.drain(&self.terms, now);
        }
    }
}
