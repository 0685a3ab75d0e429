//! `RecordChecks`: reads the request, and streams what is recorded.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::Status;

use super::messages::read_length;
use crate::access::Domains;
use crate::admin::within::Within;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::recorded::write_recorded;
use crate::config::check_reason;
use crate::limiter::{Limiter, View};
use crate::operations::{Author, Operations};
use crate::recording::{MAX_BATCH, POLL_MS, Reader, RecordedCheck, Recordings, Selection, ValueHashes};
use crate::runtime::clock::{Clock, Stopwatch};
use crate::units::Nanos;

/// A recording that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    selection: Selection,
    length: Nanos,
    max_checks: u64,
    hashes: Option<ValueHashes>,
    /// For the audit log.
    what: String,
}

impl Asked {
    /// Reads a request, within the domains of its caller.
    ///
    /// # Errors
    /// What is out of range, or a domain that is not the caller's.
    pub(super) fn read(request: proto::RecordChecksRequest, within: &Within) -> Result<Self, Status> {
        let proto::RecordChecksRequest { domains, duration, max_checks, one_in, sample_by, hash_values, reason } =
            request;
        check_reason(&reason).map_err(Status::invalid_argument)?;
        let length = duration.map_or(Ok(USUAL_LENGTH), |duration| read_length(duration, "duration"))?;
        if length.is_zero() || length > MAX_LENGTH {
            return Err(Status::invalid_argument("duration: must be above 0 and at most 24 h"));
        }
        let max_checks = if max_checks == 0 { USUAL_CHECKS } else { max_checks };
        if max_checks > MAX_CHECKS {
            return Err(Status::invalid_argument(format!("max_checks: at most {MAX_CHECKS} are possible")));
        }
        if domains.len() > MAX_DOMAINS || sample_by.len() > MAX_KEY_BYTES {
            return Err(Status::invalid_argument(format!(
                "at most {MAX_DOMAINS} domains are possible, and {MAX_KEY_BYTES} bytes of sample_by"
            )));
        }
        domains.iter().try_for_each(|domain| within.domain(domain))?;
        let domains = match &within.principal().domains {
            Domains::Only(own) if domains.is_empty() => own.clone(),
            _ => domains,
        };
        let hashes = hash_values.then(ValueHashes::new).transpose();
        let hashes = hashes.map_err(|error| Status::unavailable(error.to_string()))?;
        let sample_by = Some(sample_by).filter(|key| !key.is_empty());
        let one_in = NonZeroU32::new(one_in).unwrap_or(NonZeroU32::MIN);
        let sample = match &sample_by {
            None => format!("one in {one_in}"),
            Some(key) => format!("one in {one_in} by {key}"),
        };
        let values = if hash_values { "values hashed" } else { "values as they are" };
        let what = format!("{sample}, {values}, at most {max_checks} checks in {length}");
        let selection = Selection { domains, one_in, sample_by, ..Selection::everything() };
        Ok(Self { selection, length, max_checks, hashes, what })
    }

    /// Begins the recording, and writes that down. Blocks.
    ///
    /// # Errors
    /// Too many run.
    pub(super) fn start(
        self,
        recordings: &Arc<Recordings>,
        operations: Arc<Operations>,
        limiter: Arc<Limiter>,
        clock: Arc<Clock>,
        author: Author,
    ) -> Result<Recorded, Status> {
        let Self { selection, length, max_checks, hashes, what } = self;
        let domains = selection.domains.clone();
        let reader = recordings.start(selection).map_err(|error| Status::resource_exhausted(error.to_string()))?;
        operations.recording_starts(&domains, &what, &author);
        Ok(Recorded {
            reader,
            hashes,
            limiter,
            clock,
            audited: Audited { operations, domains, author, checks: 0 },
            begun: Stopwatch::start(),
            length,
            max_checks,
            rematched: 0,
            // The first message is sent at once: the caller then knows that it began.
            sleep: Box::pin(sleep(Duration::ZERO)),
            quiet: None,
            is_finished: false,
        })
    }
}

/// The stream of one recording.
pub(super) struct Recorded {
    reader: Reader,
    hashes: Option<ValueHashes>,
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    audited: Audited,
    begun: Stopwatch,
    length: Nanos,
    max_checks: u64,
    rematched: u64,
    sleep: Pin<Box<Sleep>>,
    /// Since the last message; `None`: there was none.
    quiet: Option<Stopwatch>,
    is_finished: bool,
}

/// Writes down the end of a recording, whatever ends it.
struct Audited {
    operations: Arc<Operations>,
    domains: Vec<String>,
    author: Author,
    checks: u64,
}

impl Recorded {
    /// The next message, if there is something to say.
    fn message(&mut self) -> Option<proto::RecordedChecks> {
        if self.begun.elapsed() >= self.length {
            self.reader.stop();
        }
        let mut taken = self.reader.poll(self.clock.now());
        let is_last = self.begun.elapsed() >= self.length && taken.len() < MAX_BATCH;
        let left = self.max_checks - self.audited.checks;
        let is_full = taken.len() as u64 >= left;
        taken.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.is_finished = is_last || is_full;
        let is_quiet = self.quiet.is_some_and(|quiet| quiet.elapsed() < LONGEST_SILENCE);
        if taken.is_empty() && is_quiet && !self.is_finished {
            return None;
        }
        self.audited.checks += taken.len() as u64;
        let checks = self.write(&taken);
        let counts = self.reader.counts();
        self.quiet = Some(Stopwatch::start());
        Some(proto::RecordedChecks {
            checks,
            num_recorded: self.audited.checks,
            num_lost: counts.lost,
            num_late: counts.late,
            num_rematched: self.rematched,
            finished: self.is_finished,
        })
    }

    fn write(&mut self, taken: &[RecordedCheck]) -> Vec<proto::RecordedCheck> {
        let view = self.limiter.view();
        let rules = view.as_ref().and_then(View::rules);
        let mut checks = Vec::with_capacity(taken.len());
        for recorded in taken {
            let Some(mut check) = recorded.check() else { continue };
            if let Some(hashes) = &self.hashes {
                self.rematched += hashes.hide(&mut check, rules);
            }
            checks.push(write_recorded(recorded.at, &check));
        }
        checks
    }
}

impl Stream for Recorded {
    type Item = Result<proto::RecordedChecks, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.is_finished {
                return Poll::Ready(None);
            }
            ready!(this.sleep.as_mut().poll(cx));
            let message = this.message();
            let more = message.as_ref().is_some_and(|message| message.checks.len() >= MAX_BATCH);
            let pause = if more { Duration::ZERO } else { Duration::from_millis(POLL_MS) };
            this.sleep = Box::pin(sleep(pause));
            if let Some(message) = message {
                return Poll::Ready(Some(Ok(message)));
            }
        }
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        let Self { operations, domains, author, checks } = self;
        let (operations, domains, author) = (Arc::clone(operations), std::mem::take(domains), author.clone());
        let what = format!("{checks} check{}", if *checks == 1 { "" } else { "s" });
        let note = move || operations.recording_ends(&domains, &what, &author);
        // It is stored on the disk, which a thread for tasks must not wait for.
        match Handle::try_current() {
            Ok(here) => drop(here.spawn_blocking(note)),
            Err(_) => note(),
        }
    }
}

const USUAL_LENGTH: Nanos = Nanos::from_secs(60);
const USUAL_CHECKS: u64 = 100_000;
/// The longest recording: a day, with its peaks.
const MAX_LENGTH: Nanos = Nanos::from_secs(24 * 60 * 60);
/// Checks of one recording: about 2 GB in a trace.
const MAX_CHECKS: u64 = 10_000_000;
/// Domains of one recording: each check is compared with them.
const MAX_DOMAINS: usize = 100;
/// The entry key of a sample, in bytes, as that of `usage: by`.
const MAX_KEY_BYTES: usize = 200;
/// A message at least so often, so that a caller that has gone away is noticed.
const LONGEST_SILENCE: Nanos = Nanos::SECOND;
