//! What is done with the frames of one read.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::gathered::Gathered;
use super::head::CallHead;
use super::incomplete::Incomplete;
use super::wire::{Exchange, Shared, Wire};
use crate::api::rls::sole_message;
use crate::http2::frame::PROTOCOL_ERROR;
use crate::http2::server::{Event, Violation};
use crate::limiter::TOGETHER;
use crate::rls::arriving::is_too_large;
use crate::rls::services::Services;
use crate::rls::tasks::Tasks;
use crate::service::{Arrived, Batch};

/// One read: its checks are decided together, at one instant, by one configuration.
pub(super) struct Reading<'s, 'b> {
    wire: &'s Wire,
    services: &'s Services,
    gathered: &'s Gathered,
    tasks: &'s Tasks,
    incomplete: &'s mut Incomplete,
    /// Begins with the first check.
    batch: Option<Batch<'s>>,
    /// Checks that are not decided yet, in the order of their arrival.
    checks: SmallVec<[WholeCheck<'b>; 1]>,
    /// Streams that were opened, or whose requests are complete, and that are not answered.
    opened: Vec<u32>,
    progress: Progress,
}

/// A check whose request is complete.
struct WholeCheck<'b> {
    id: u32,
    head: Arc<CallHead>,
    /// Borrowed if it arrived with this read alone.
    message: Cow<'b, [u8]>,
}

/// What has come of a read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Requests have arrived.
    pub(super) heard: bool,
    /// There were answers that could be sent.
    pub(super) answered: bool,
    /// What the peer did, if the connection has to end for it.
    pub(super) violation: Option<Violation>,
}

impl<'s, 'b> Reading<'s, 'b> {
    pub(super) fn new(
        wire: &'s Wire,
        services: &'s Services,
        gathered: &'s Gathered,
        tasks: &'s Tasks,
        incomplete: &'s mut Incomplete,
    ) -> Self {
        let (checks, opened) = (SmallVec::new(), Vec::new());
        Self { wire, services, gathered, tasks, incomplete, batch: None, checks, opened, progress: Progress::default() }
    }

    /// Does what these frames ask for. Returns the bytes of the frame that is incomplete.
    pub(super) fn take(mut self, mut input: &'b [u8]) -> (Progress, &'b [u8]) {
        let mut shared = self.wire.lock();
        loop {
            match shared.connection.next(&mut input) {
                Ok(Some(event)) => self.event(&mut shared, event),
                Ok(None) => break,
                Err(violation) => {
                    self.progress.violation = Some(violation);
                    break;
                }
            }
        }
        if !self.gather(&mut shared) {
            self.decide(&mut shared);
        }
        let mut opened = std::mem::take(&mut self.opened);
        opened.retain(|id| !self.wait_for_rest(&mut shared, *id));
        if shared.connection.flush() {
            shared.wake_writers();
        }
        drop(shared);
        // Sends what was asked of the store.
        self.batch = None;
        for id in opened {
            self.hand_on(id);
        }
        (self.progress, input)
    }

    fn event(&mut self, shared: &mut Shared, event: Event<'b, CallHead, Exchange>) {
        match event {
            Event::Request { id, head, is_whole } => {
                self.progress.heard = true;
                self.opened.push(id);
                if let Some(exchange) = shared.connection.state(id) {
                    exchange.head = Some(head);
                    exchange.is_whole = is_whole;
                }
            }
            Event::Data { id, payload, is_last } => {
                if is_last && self.whole_check(shared, id, payload) {
                    return;
                }
                shared.arrived(id, payload, is_last);
                self.keep(shared, id, payload.len(), is_last);
            }
            Event::Gone { state } => state.end(),
        }
    }

    /// Takes a check that has not been handed on, and whose request ends with this payload.
    fn whole_check(&mut self, shared: &mut Shared, id: u32, payload: &'b [u8]) -> bool {
        let Some(exchange) = shared.connection.state(id) else { return false };
        let Some(head) = exchange.head.take_if(|head| head.is_check()) else { return false };
        if exchange.body.is_empty()
            && let Some(message) = sole_message(payload)
        {
            exchange.incomplete = None;
            self.check(shared, WholeCheck { id, head, message: Cow::Borrowed(message) });
            return true;
        }
        let mut body = std::mem::take(&mut exchange.body);
        body.extend_from_slice(payload);
        if let Some(message) = sole_message(&body) {
            let message = Cow::Owned(message.to_vec());
            exchange.incomplete = None;
            self.check(shared, WholeCheck { id, head, message });
            return true;
        }
        // It is compressed, or not one message.
        body.truncate(body.len() - payload.len());
        (exchange.body, exchange.head) = (body, Some(head));
        false
    }

    /// Counts another part of a check that waits for the rest, which goes on if there is none.
    fn keep(&mut self, shared: &mut Shared, id: u32, length: usize, is_last: bool) {
        let Some(exchange) = shared.connection.state(id) else { return };
        let Some(share) = &mut exchange.incomplete else { return };
        if is_last || is_too_large(&exchange.body) {
            exchange.incomplete = None;
            self.opened.push(id);
            return;
        }
        match share.hold(length) {
            Ok(()) => shared.connection.release(id, length),
            Err(status) => drop(shared.answer(id, Err(status))),
        }
    }

    /// Lets a check wait for the rest of its request. `false`: it is something else.
    fn wait_for_rest(&mut self, shared: &mut Shared, id: u32) -> bool {
        let Some(exchange) = shared.connection.state(id) else { return false };
        let (is_whole, length) = (exchange.is_whole || is_too_large(&exchange.body), exchange.body.len());
        let Some(head) = exchange.head.as_ref().filter(|head| head.is_check() && !is_whole) else { return false };
        match self.services.incomplete_check(head.headers(), length) {
            Ok(share) => {
                exchange.incomplete = Some(share);
                shared.connection.release(id, length);
                self.incomplete.add(shared, id);
            }
            Err(status) => drop(shared.answer(id, Err(status))),
        }
        true
    }

    fn check(&mut self, shared: &mut Shared, check: WholeCheck<'b>) {
        if self.opened.last() == Some(&check.id) {
            self.opened.pop();
        }
        if self.checks.len() == 1 {
            // Where there are two, there are usually many.
            self.checks.reserve(TOGETHER);
        }
        self.checks.push(check);
        if self.checks.len() == TOGETHER {
            self.decide(shared);
        }
    }

    /// Leaves the checks of this read to be decided with those of other connections, if that is better.
    fn gather(&mut self, shared: &mut Shared) -> bool {
        let Self { services, wire, gathered, checks, .. } = self;
        let has_begun = self.batch.is_some() || self.progress.violation.is_some();
        if checks.is_empty() || has_begun || !gathered.has_company(checks.iter().map(|check| check.message.len())) {
            return false;
        }
        shared.undecided = shared.undecided.saturating_add(checks.len());
        for WholeCheck { id, head, message } in checks.drain(..) {
            gathered.add(wire, id, head, services.caller().cloned(), &message);
        }
        true
    }

    /// Decides the checks that have arrived so far.
    fn decide(&mut self, shared: &mut Shared) {
        if self.checks.is_empty() {
            return;
        }
        let Self { services, tasks, wire, batch, checks, progress, .. } = self;
        let arrived = checks
            .iter()
            .map(|WholeCheck { head, message, .. }| Arrived { call: head.call(services.service()), message });
        let arrived: SmallVec<[Arrived<'_>; 1]> = arrived.collect();
        let (mut ids, mut later) = (checks.iter().map(|check| check.id), Vec::new());
        services.decide_all(batch.get_or_insert_with(|| services.batch()), &arrived, |answer| {
            let Some(id) = ids.next() else { return };
            match shared.answer(id, answer) {
                Ok(answered) => progress.answered |= answered,
                Err(answer) => later.push((answer, wire.answer(id))),
            }
        });
        services.settle_later(tasks, later);
        drop(arrived);
        self.checks.clear();
    }

    /// Hands a request to tonic's services that is not an answered check.
    fn hand_on(&self, id: u32) {
        let head = self.wire.lock().connection.state(id).and_then(|exchange| exchange.head.take());
        let Some(head) = head else { return };
        let Some(request) = head.request(self.wire.body(id)) else {
            return self.wire.lock().connection.abandon(id, PROTOCOL_ERROR);
        };
        let answer = self.wire.answer(id);
        if head.is_check() {
            self.services.check_later(self.tasks, request, answer);
        } else if !head.is_grpc() {
            self.services.no_call(self.tasks, request, answer);
        } else {
            self.services.other(self.tasks, request, answer);
        }
    }
}
