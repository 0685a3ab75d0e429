//! What the server sends, and what to ask it next.

use std::collections::HashMap;

use super::{Call, Event, Link, Model, Page};
use crate::api::proto::tidegate::v1::{
    ApplicableLimit, Counter, ListCountersRequest, ListCountersResponse, ListLimitsResponse, UsageReport,
};
use crate::cli::admin::connection::Failure;
use crate::cli::admin::top::place::Place;
use crate::cli::admin::top::row::fullness;
use crate::cli::admin::top::usage::Follows;
use crate::units::{Nanos, Timestamp};

/// What is known of the counters of the place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::cli::admin::top) struct Counted {
    /// Bans that run.
    pub(in crate::cli::admin::top) banned: u64,
    /// Counters that deny, those that are banned included.
    pub(in crate::cli::admin::top) denying: u64,
    /// There may be more bans: not all counters that deny were listed.
    pub(in crate::cli::admin::top) is_least: bool,
    /// Hits that wait in queues.
    pub(in crate::cli::admin::top) waiting: u64,
    /// The fullest counter, and its used share.
    pub(in crate::cli::admin::top) fullest: Option<(Counter, f64)>,
}

impl Model {
    /// Takes over what the server sent.
    pub(in crate::cli::admin::top) fn update(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Report(place, report) => self.report(now, &place, *report),
            Event::Denied(place, report) => {
                if place == self.place && self.wants_denials() {
                    self.denials.add(report);
                }
            }
            Event::Lost(failure) => self.lost(failure),
            Event::Counters(request, answer) => self.counters_listed(now, &request, answer),
            Event::Limits(domain, answer) => self.limits_listed(now, domain, answer),
            Event::Acted(outcome) => {
                self.is_acting = false;
                match outcome {
                    Ok(done) => {
                        self.say(done);
                        self.limits.clear();
                        self.polling.denying_next = true;
                    }
                    Err(failure) => self.complain(format!("not done: {}", words(failure))),
                }
            }
        }
    }

    fn report(&mut self, now: Timestamp, place: &Place, report: UsageReport) {
        if self.link == Link::Lost {
            self.say("connected again");
        }
        self.link = Link::Live;
        let is_other = self.usage.at().is_some() && report.instance.as_ref().is_some_and(|i| !self.usage.is_of(&i.id));
        if *place != self.place || (self.paused && !is_other) {
            return;
        }
        if self.usage.apply(place, report) == Follows::AnotherProcess {
            self.restarted = Some(now);
            self.counters.clear();
            self.denying.clear();
            self.limits.clear();
            self.denials.clear();
            self.say("the server has started again: its counts begin at 0");
        }
    }

    fn lost(&mut self, failure: Failure) {
        if self.link == Link::Live {
            self.link = Link::Lost;
        }
        self.complain(format!("trying again: {}", words(failure)));
    }

    fn answered(&mut self, now: Timestamp) {
        self.polling.in_progress = false;
        self.polling.took = self.polling.last.map(|asked| now.since(asked)).unwrap_or_default();
    }

    fn counters_listed(
        &mut self,
        now: Timestamp,
        request: &ListCountersRequest,
        answer: Result<ListCountersResponse, Failure>,
    ) {
        self.answered(now);
        match answer {
            // What was asked before the pause is asked again after it.
            _ if self.paused => {}
            Ok(page) => {
                (self.no_counters, self.polling.rejected) = (None, None);
                let survey = if request.denied { &mut self.denying } else { &mut self.counters };
                survey.add(request, page, now);
            }
            Err(Failure::Status(why)) => (self.no_counters, self.polling.rejected) = (Some(why), Some(now)),
            // The stream says what is wrong with the connection.
            Err(Failure::NoAnswer(_)) => {}
        }
    }

    fn limits_listed(&mut self, now: Timestamp, domain: String, answer: Result<ListLimitsResponse, Failure>) {
        self.answered(now);
        if self.paused {
            return;
        }
        // Without an answer, it is not asked for again at once, either.
        let limits = answer.map(|answer| answer.limits).unwrap_or_default();
        if self.limits.len() >= MAX_DOMAINS && !self.limits.contains_key(&domain) {
            self.limits.clear();
        }
        self.limits.insert(domain, (limits, now));
    }

    /// The next call, if it is time for one: what is confirmed at once, everything else every [`PERIOD`] and more rarely where
    /// the server is busy, and only for what is shown.
    pub(in crate::cli::admin::top) fn next_call(&mut self, now: Timestamp) -> Option<Call> {
        if let Some(action) = self.confirmed.take() {
            self.is_acting = true;
            return Some(Call::Act(action));
        }
        let is_soon = |last: Option<Timestamp>, period| last.is_some_and(|last| now.since(last) < period);
        if self.paused
            || self.link != Link::Live
            || self.polling.in_progress
            || is_soon(self.polling.last, self.time_between_calls())
        {
            return None;
        }
        let call = match self.domain_without_limits(now) {
            Some(domain) => Call::Limits(domain),
            None if is_soon(self.polling.rejected, PERIOD_AFTER_REJECTION) => return None,
            None => Call::Counters(self.next_page()),
        };
        self.polling.in_progress = true;
        self.polling.last = Some(now);
        Some(call)
    }

    /// From one call to the next: a call that took long is followed by a longer pause, so that calls are a small part of what a busy server
    /// does.
    pub(super) fn time_between_calls(&self) -> Nanos {
        Nanos::from_ns(self.polling.took.as_ns().saturating_mul(PAUSE_TO_LENGTH)).clamp(PERIOD, LONGEST_PERIOD)
    }

    /// The next page of the counters of the place, and of those that deny, by turns.
    fn next_page(&mut self) -> ListCountersRequest {
        let shows_all = matches!(self.page, Page::Usage | Page::Keys);
        let denying = self.polling.denying_next || !shows_all;
        self.polling.denying_next = !denying;
        let wanted = self.place.counters(denying);
        let survey = if denying { &mut self.denying } else { &mut self.counters };
        survey.next(wanted)
    }

    /// A domain whose limits are needed: that of the place, or of a counter that may have a queue.
    fn domain_without_limits(&self, now: Timestamp) -> Option<String> {
        let is_needed = |domain: &&str| {
            let listed = self.limits.get(*domain).map(|(_, at)| *at);
            listed.is_none_or(|at| now.since(at) >= PERIOD_OF_LIMITS)
        };
        let may_wait = |counter: &&Counter| counter.remaining == 0 && !counter.denied && counter.period.is_some();
        let of_place = self.place.domain().into_iter();
        let of_counters = self.place_counters().iter().filter(may_wait).map(|counter| &*counter.domain);
        of_place.chain(of_counters).take(MAX_DOMAINS).find(is_needed).map(str::to_owned)
    }

    /// The listed counters of the place.
    pub(super) fn place_counters(&self) -> &[Counter] {
        self.counters.counters(&self.place.counters(false))
    }

    /// The listed counters of the place that deny.
    pub(super) fn denying_counters(&self) -> &[Counter] {
        self.denying.counters(&self.place.counters(true))
    }

    /// Why the server does not list counters.
    pub(in crate::cli::admin::top) fn without_counters(&self) -> Option<&str> {
        self.no_counters.as_deref()
    }

    /// How much of the counters has been searched, and when the search ended, if it has.
    pub(in crate::cli::admin::top) fn searched(&self) -> Option<(&ListCountersResponse, Option<Timestamp>)> {
        let found = self.denying.found(&self.place.counters(true))?;
        Some((found, self.denying.completed()))
    }

    /// What is known of the counters of the place; `None`: nothing yet.
    pub(in crate::cli::admin::top) fn counted(&self) -> Option<Counted> {
        let denying = self.denying.found(&self.place.counters(true))?;
        let banned = denying.counters.iter().filter(|counter| counter.banned_until.is_some()).count() as u64;
        let listed = denying.counters.len() as u64;
        let of_place = self.place_counters();
        let full = of_place.iter().chain(&denying.counters).filter_map(|counter| Some((counter, fullness(counter)?)));
        let fullest = full.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(counter, share)| (counter.clone(), share));
        let waiting = of_place.iter().map(|counter| self.waiting(counter)).fold(0, u64::saturating_add);
        Some(Counted { banned, denying: denying.matched, is_least: listed < denying.matched, waiting, fullest })
    }

    /// Hits that wait in the queue of a counter: those that are more than its burst.
    pub(super) fn waiting(&self, counter: &Counter) -> u64 {
        let limit = self.limits_of(&counter.domain, &counter.rule).nth(place_of(counter));
        let queue = limit.filter(|limit| limit.queue > 0);
        queue.map_or(0, |limit| counter.used.saturating_sub(u64::from(limit.burst)))
    }

    /// The limits of a rule, in the order of the rule.
    pub(in crate::cli::admin::top) fn limits_of(
        &self,
        domain: &str,
        rule: &str,
    ) -> impl Iterator<Item = &ApplicableLimit> {
        let limits = self.limits.get(domain).map(|(limits, _)| &**limits).unwrap_or_default();
        limits.iter().filter(move |limit| limit.rule == rule)
    }

    /// The counters that deny, by rule: all, and those that are banned.
    pub(super) fn denying_by_rule(&self) -> HashMap<&str, (usize, usize)> {
        let mut by_rule: HashMap<&str, (usize, usize)> = HashMap::new();
        for counter in self.denying_counters() {
            let (all, banned) = by_rule.entry(&counter.rule).or_default();
            *all += 1;
            *banned += usize::from(counter.banned_until.is_some());
        }
        by_rule
    }
}

/// The index of a counter's limit in its rule.
fn place_of(counter: &Counter) -> usize {
    usize::try_from(counter.limit_place.saturating_sub(1)).unwrap_or(0)
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Status(why) | Failure::NoAnswer(why) => why,
    }
}

/// Between two calls that look: a page of counters takes the server some hundred milliseconds at most.
const PERIOD: Nanos = Nanos::from_secs(2);
/// As long as a person waits for the next list.
const LONGEST_PERIOD: Nanos = Nanos::from_secs(15);
/// The pause compared with the call before it: calls take 5 % of the time of one thread, as those of the dashboard do.
const PAUSE_TO_LENGTH: u64 = 20;
/// A token may be given another role.
const PERIOD_AFTER_REJECTION: Nanos = Nanos::from_secs(60);
/// Limits change with the configuration and with settings.
const PERIOD_OF_LIMITS: Nanos = Nanos::from_secs(30);
/// Domains whose limits are kept.
const MAX_DOMAINS: usize = 16;
