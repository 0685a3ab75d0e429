//! The server's side of the view: its streams, read in tasks that connect again and again, and its calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::{Response, Status, Streaming};

use super::action::Action;
use super::model::{Call, Event, Model};
use super::place::Place;
use super::usage::MAX_KEYS;
use crate::api::proto::tidegate::v1::{
    BanCounterRequest, ListLimitsRequest, ResetCountersRequest, SetSettingRequest, UnbanCountersRequest,
    UnsetSettingRequest, UsageReport, WatchDenialsRequest, WatchUsageRequest,
};
use crate::cli::admin::connection::{Client, Connection, Failure, Service, admin_client, usage_client};
use crate::cli::admin::render::{counted, entries as entries_text, scope as scope_text};
use crate::cli::admin::time::instant;

/// Streams and calls of one connection. Its tasks end with it.
#[derive(Debug)]
pub(super) struct Feed {
    source: Source,
    usage: Option<(Place, Task)>,
    denials: Option<(Place, Task)>,
}

/// What every task has.
#[derive(Clone, Debug)]
struct Source {
    connection: Arc<Connection>,
    service: Service,
    interval: Duration,
    events: mpsc::Sender<Event>,
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Feed {
    /// Connects, and looks whether the server streams usage to this caller.
    ///
    /// # Errors
    /// There is no connection, or the server rejects the caller.
    pub(super) async fn open(
        connection: Connection,
        interval: Duration,
    ) -> Result<(Self, mpsc::Receiver<Event>), Failure> {
        let service = connection.open().await?;
        let (events, received) = mpsc::channel(MAX_EVENTS);
        let source = Source { connection: Arc::new(connection), service, interval, events };
        source.usage(&Place::Everything).await?;
        Ok((Self { source, usage: None, denials: None }, received))
    }

    /// Streams what the view shows, and nothing else.
    pub(super) fn follow(&mut self, model: &Model) {
        let place = &model.place;
        if self.usage.as_ref().is_none_or(|(of, _)| of != place) {
            let task = tokio::spawn(self.source.clone().watch_usage(place.clone()));
            self.usage = Some((place.clone(), Task(task)));
        }
        if !model.wants_denials() {
            self.denials = None;
        } else if self.denials.as_ref().is_none_or(|(of, _)| of != place) {
            let task = tokio::spawn(self.source.clone().watch_denials(place.clone()));
            self.denials = Some((place.clone(), Task(task)));
        }
    }

    /// Makes a call; its answer becomes an event. The view makes few at a time.
    pub(super) fn call(&self, call: Call) {
        let source = self.source.clone();
        drop(tokio::spawn(async move {
            let event = match call {
                Call::Counters(request) => {
                    let asked = request.clone();
                    let answer = source.ask(async |client| client.list_counters(request).await).await;
                    Event::Counters(asked, answer)
                }
                Call::Limits(domain) => {
                    let request = ListLimitsRequest { domain: domain.clone(), entries: Vec::new() };
                    let answer = source.ask(async |client| client.list_limits(request).await).await;
                    Event::Limits(domain, answer)
                }
                Call::Act(action) => Event::Acted(source.act(action).await),
            };
            let _closed = source.events.send(event).await;
        }));
    }
}

impl Source {
    async fn watch_usage(self, place: Place) {
        loop {
            let Err(failure) = self.report_usage(&place).await else { return };
            if self.events.send(Event::Lost(failure)).await.is_err() {
                return;
            }
            sleep(RETRY).await;
        }
    }

    /// Passes reports on. Returns when nobody takes them any more.
    async fn report_usage(&self, place: &Place) -> Result<(), Failure> {
        let mut reports = self.usage(place).await?;
        loop {
            // A server that has gone without a word sends nothing.
            let next = timeout(self.interval + SILENCE, reports.message()).await;
            let silent = || Failure::NoAnswer(format!("no report within {SILENCE:?}"));
            let next = next.map_err(|_| silent())?.map_err(|status| self.connection.failure(&status))?;
            let report = next.ok_or_else(|| Failure::NoAnswer("the server has ended the stream".to_owned()))?;
            if self.events.send(Event::Report(place.clone(), Box::new(report))).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn usage(&self, place: &Place) -> Result<Streaming<UsageReport>, Failure> {
        let request = WatchUsageRequest {
            filter: Some(place.filter()),
            interval: prost_types::Duration::try_from(self.interval).ok(),
            top: u32::try_from(MAX_KEYS).unwrap_or(0),
            ..WatchUsageRequest::default()
        };
        self.connection.call(usage_client(self.service.clone()).watch_usage(request)).await.map(Response::into_inner)
    }

    async fn watch_denials(self, place: Place) {
        loop {
            let request = WatchDenialsRequest { filter: Some(place.filter()), recent: 0 };
            // Why there is no stream, the one of usage says.
            let denials = self.connection.call(usage_client(self.service.clone()).watch_denials(request)).await;
            if let Ok(mut denials) = denials.map(Response::into_inner) {
                while let Ok(Some(report)) = denials.message().await {
                    if self.events.send(Event::Denied(place.clone(), report)).await.is_err() {
                        return;
                    }
                    // The server drops what is not read, and says how many.
                    sleep(BETWEEN_DENIALS).await;
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn ask<R>(&self, call: impl AsyncFnOnce(&mut Client) -> Result<Response<R>, Status>) -> Result<R, Failure> {
        let mut client = admin_client(self.service.clone());
        self.connection.call(call(&mut client)).await.map(Response::into_inner)
    }

    /// Carries out an action, and returns what was done in words.
    async fn act(&self, action: Action) -> Result<String, Failure> {
        let reason = || REASON.to_owned();
        match action {
            Action::Reset { rule, entries } => {
                let request = ResetCountersRequest { rule: rule.clone(), entries, reason: reason() };
                let answer = self.ask(async |client| client.reset_counters(request).await).await?;
                Ok(format!("reset {} of rule {rule}", counted(answer.reset, "counter")))
            }
            Action::Ban { rule, entries, length } => {
                let whom = entries_text(&entries);
                let request = BanCounterRequest { rule: rule.clone(), entries, r#for: Some(length), reason: reason() };
                let answer = self.ask(async |client| client.ban_counter(request).await).await?;
                let until = answer.until.as_ref().map(|until| format!(" until {}", instant(until))).unwrap_or_default();
                Ok(format!("banned {whom} of rule {rule}{until}"))
            }
            Action::Unban { rule, entries } => {
                let request = UnbanCountersRequest { rule: rule.clone(), entries, reason: reason() };
                let answer = self.ask(async |client| client.unban_counters(request).await).await?;
                Ok(format!("lifted the ban of {} of rule {rule}", counted(answer.unbanned, "counter")))
            }
            Action::Set { scope, name, value, length, .. } => {
                let what = format!("set {name} of {} to {value}", scope_text(Some(&scope)));
                let name = name.to_owned();
                let request = SetSettingRequest { scope: Some(scope), name, value, r#for: length, reason: reason() };
                let answer = self.ask(async |client| client.set_setting(request).await).await?;
                Ok(with_warning(format!("{what} (was {})", answer.old), &answer.warning))
            }
            Action::Unset { scope, name } => {
                let what = format!("removed the setting {name} of {}", scope_text(Some(&scope)));
                let request = UnsetSettingRequest { scope: Some(scope), name, reason: reason() };
                let answer = self.ask(async |client| client.unset_setting(request).await).await?;
                Ok(with_warning(format!("{what}, now {}", answer.value), &answer.warning))
            }
        }
    }
}

fn with_warning(done: String, warning: &str) -> String {
    if warning.is_empty() { done } else { format!("{done}; warning: {warning}") }
}

/// Why, for the audit log.
const REASON: &str = "tidegate top";
/// Answers that the view has not taken yet. A stream waits, and the server merges its reports.
const MAX_EVENTS: usize = 16;
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);
/// Between two messages with denials.
const BETWEEN_DENIALS: Duration = Duration::from_millis(250);
/// How much later than its interval a report may come: the admin port has the lowest priority on its machine.
const SILENCE: Duration = Duration::from_secs(30);
