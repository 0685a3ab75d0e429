//! Checks that arrived together.

use smallvec::SmallVec;

use super::{Answer, Batch, Call, Sending};
use crate::api::rls::RequestError;
use crate::limiter::{Check, TOGETHER};
use crate::runtime::clock::Stopwatch;
use crate::service::reply::{Reply, finish, reply};
use crate::telemetry::otlp::CheckSpan;
use crate::units::Nanos;

/// One of several checks that arrived together.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'m> {
    /// What the front end knows of it.
    pub call: Call<'m>,
    /// Its encoded `RateLimitRequest`.
    pub message: &'m [u8],
}

type Checks<'m> = SmallVec<[Check<'m>; TOGETHER]>;

/// What was read of a check.
struct Read {
    span: Option<CheckSpan>,
    /// Why it is not decided.
    error: Option<RequestError>,
}

impl Batch<'_> {
    /// Answers checks as [`answer`](Self::answer) does, one after the other in their order, and passes on the answer to each. Their counters
    /// are loaded from memory together.
    pub fn answer_all(&self, arrived: &[Arrived<'_>], mut each: impl FnMut(Result<Answer, RequestError>)) {
        for some in arrived.chunks(TOGETHER) {
            match (some, &self.sending) {
                ([one], _) => each(self.answer(one.call, one.message)),
                (_, Some(sending)) => self.ask_together(sending, some, &mut each),
                (_, None) => self.decide_together(some, |reply| each(reply.map(Answer::Reply))),
            }
        }
    }

    /// Decides checks whose counters are those of this process.
    fn decide_together(&self, arrived: &[Arrived<'_>], mut each: impl FnMut(Result<Reply, RequestError>)) {
        let begun = self.begin_times(arrived.len());
        let (checks, reads) = self.read_all(arrived);
        let valid = valid(&checks, &reads);
        let mut decisions = self.view.as_ref().map(|view| view.check_all(self.worker, self.now, valid.iter().copied()));
        // The one that is timed is the first: its share of what all have taken so far, and its own time.
        let mut timed = begun.map(|begun| (share(begun.elapsed(), arrived.len()), Stopwatch::start()));
        for ((check, Read { span, error }), Arrived { message, .. }) in checks.iter().zip(reads).zip(arrived) {
            let decision = error
                .map_or_else(|| decisions.as_mut().and_then(Iterator::next).ok_or(RequestError::NoConfiguration), Err);
            let reply = decision.map(|decision| {
                self.record(check, message);
                reply(self.limiter, self.now, check, &decision)
            });
            let reply = finish(self.limiter, self.worker, span, check, reply);
            self.end_time(timed.take());
            each(reply);
        }
    }

    /// The same where the store of shared counters may have to be asked: what can be decided in memory is, the others ask.
    fn ask_together(
        &self,
        sending: &Sending<'_>,
        arrived: &[Arrived<'_>],
        mut each: impl FnMut(Result<Answer, RequestError>),
    ) {
        let begun = self.begin_times(arrived.len());
        let (checks, reads) = self.read_all(arrived);
        let view = self.view.as_ref();
        let prepared = view.and_then(|view| view.prepare(self.worker, self.now, valid(&checks, &reads)));
        let mut prepared = prepared.iter().flatten();
        let mut timed = begun.map(|begun| (share(begun.elapsed(), arrived.len()), Stopwatch::start()));
        for ((check, Read { span, error }), Arrived { call, message }) in checks.iter().zip(reads).zip(arrived) {
            let next = error.map_or_else(|| view.zip(prepared.next()).ok_or(RequestError::NoConfiguration), Err);
            let answer =
                next.map(|(view, prepared)| self.ask_or_decide((view, Some(prepared)), sending, *call, check, message));
            self.end_time(timed.take());
            each(self.answered(span, check, answer));
        }
    }

    /// Reads checks, and begins their spans.
    fn read_all<'m>(&self, arrived: &[Arrived<'m>]) -> (Checks<'m>, SmallVec<[Read; TOGETHER]>) {
        let (mut checks, mut reads) = (Checks::new(), SmallVec::new());
        for Arrived { call, message } in arrived {
            let (timeout, span) = self.begin(call);
            checks.push(Check { timeout, ..Check::default() });
            let error = checks.last_mut().and_then(|check| self.read(check, message).err());
            reads.push(Read { span, error });
        }
        (checks, reads)
    }

    fn end_time(&self, timed: Option<(Nanos, Stopwatch)>) {
        if let (Some((before, begun)), Some(service)) = (timed, self.service) {
            service.times.add(self.worker, before.plus(begun.elapsed()));
        }
    }

    /// A stopwatch if one of the next checks is to be timed.
    fn begin_times(&self, checks: usize) -> Option<Stopwatch> {
        let times = &self.service?.times;
        // Each counts, and at most one of them is sampled.
        (0..checks).fold(None, |begun, _| times.begin(self.worker, self.now).or(begun))
    }
}

fn valid<'c, 'm>(checks: &'c [Check<'m>], reads: &[Read]) -> SmallVec<[&'c Check<'m>; TOGETHER]> {
    checks.iter().zip(reads).filter(|(_, read)| read.error.is_none()).map(|(check, _)| check).collect()
}

fn share(of: Nanos, among: usize) -> Nanos {
    Nanos::from_ns(of.as_ns() / u64::try_from(among.max(1)).unwrap_or(u64::MAX))
}
