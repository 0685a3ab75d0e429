//! `tidegate.v1.UsageService`: usage for operators and observers.

mod denials;
mod entry_keys;
mod events;
mod observers;
mod pace;
mod page_rows;
mod query;
mod watch;

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

pub(crate) use events::UsageEvents;
pub(crate) use observers::Observers;
pub(crate) use query::{Queries, read as read_query, write as write_page};

use super::within::Within;
use crate::access::Principal;
use crate::api::proto::tidegate::v1::{
    DenialReport, QueryUsageRequest, QueryUsageResponse, UsageFilter, WatchDenialsRequest, WatchUsageRequest,
};
use crate::api::usage::{BadQuestion, EncodedReport, read_filter, read_interval, read_requests_by};
use crate::api::usage_service::usage_service_server::{UsageService, UsageServiceServer};
use crate::limiter::Limiter;
use crate::runtime::clock::Clock;
use crate::units::Nanos;
use crate::usage::{Filter, Scope};
use denials::DenialReports;
use observers::Observed;
use watch::UsageReports;

/// The usage service.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    observed: Arc<Observed>,
    queries: Queries,
}

impl Usage {
    /// The usage of the process with this id. The numbers of its reports count from now.
    pub(crate) fn new(
        limiter: Arc<Limiter>,
        clock: Arc<Clock>,
        observers: Observers,
        queries: Queries,
        instance_id: String,
    ) -> Self {
        Self { observed: Arc::new(Observed::new(limiter, clock, observers, instance_id)), queries }
    }

    /// As a service of gRPC.
    pub(crate) fn service(self) -> UsageServiceServer<Self> {
        UsageServiceServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    /// The events for a page of this caller, of one domain or, if `domain` is empty, of all that it may see.
    ///
    /// # Errors
    /// As those of `WatchUsage`, and RESOURCE_EXHAUSTED if there are too many pages.
    pub(crate) fn events(
        &self,
        caller: Arc<Principal>,
        domain: String,
        interval: Nanos,
    ) -> Result<UsageEvents, Status> {
        let within = Within::new(caller, Arc::clone(self.observed.limiter()));
        let filter = self.filter(&within, Some(UsageFilter { domain, ..UsageFilter::default() }))?;
        UsageEvents::new(Arc::clone(&self.observed), filter, interval)
    }

    fn within<T>(&self, request: &Request<T>) -> Result<Within, Status> {
        Within::of(request, self.observed.limiter())
    }

    /// The filter of a request, within the domains of its caller.
    fn filter(&self, within: &Within, filter: Option<UsageFilter>) -> Result<Filter, Status> {
        let mut filter = filter.unwrap_or_default();
        within.filter(&mut filter.domain)?;
        let filter = read_filter(Some(filter))?;
        if let Some(rule) = &filter.rule
            && !within.is_everywhere()
            && !self.observed.is_of_overrides_in(rule, filter.domain.as_deref().unwrap_or_default())
        {
            within.rule(rule)?;
        }
        Ok(self.known(filter)?)
    }

    /// The filter, if its names exist. Cost: a snapshot of the usage for a filter that names a domain or a rule.
    fn known(&self, filter: Filter) -> Result<Filter, BadQuestion> {
        if filter.domain.is_none() && filter.rule.is_none() {
            return Ok(filter);
        }
        let snapshot = self.observed.snapshot();
        let unknown = |what, name: &str| BadQuestion::Unknown { what, name: name.to_owned() };
        if let Some(domain) = &filter.domain {
            let is_known = self.observed.has_domain(domain) || snapshot.rules.iter().any(|r| r.rule.domain == *domain);
            is_known.then_some(()).ok_or_else(|| unknown("domain", domain))?;
        }
        if let Some(path) = &filter.rule {
            let named = || snapshot.rules.iter().filter(|r| r.rule.path == *path);
            if named().next().is_none() && !self.observed.is_of_overrides(path) {
                return Err(unknown("rule", path));
            }
            if let Some(domain) = &filter.domain
                && !named().any(|r| r.rule.domain == *domain)
                && !self.observed.is_of_overrides_in(path, domain)
            {
                return Err(BadQuestion::OtherDomain { rule: path.clone(), domain: domain.clone() });
            }
        }
        Ok(filter)
    }
}

#[tonic::async_trait]
impl UsageService for Usage {
    type WatchUsageStream = Pin<Box<dyn Stream<Item = Result<EncodedReport, Status>> + Send>>;
    type WatchDenialsStream = Pin<Box<dyn Stream<Item = Result<DenialReport, Status>> + Send>>;

    async fn watch_usage(
        &self,
        request: Request<WatchUsageRequest>,
    ) -> Result<Response<Self::WatchUsageStream>, Status> {
        let within = self.within(&request)?;
        let WatchUsageRequest { filter, interval, top, resume_instance_id, resume_sequence, requests_by } =
            request.into_inner();
        let interval = read_interval(interval)?;
        let filter = self.filter(&within, filter)?;
        let requests_by = read_requests_by(requests_by, &filter)?;
        let requests_by = self.observed.counted_by(filter.domain.as_deref(), requests_by)?;
        let scope = Scope { filter, requests_by, top: usize::try_from(top).unwrap_or(0) };
        let permit = self.observed.permit()?;
        let resumed = self.observed.is_instance(&resume_instance_id).then_some(resume_sequence);
        let reports = UsageReports::new(Arc::clone(&self.observed), permit, scope, interval, resumed);
        Ok(Response::new(Box::pin(reports)))
    }

    async fn watch_denials(
        &self,
        request: Request<WatchDenialsRequest>,
    ) -> Result<Response<Self::WatchDenialsStream>, Status> {
        let within = self.within(&request)?;
        let WatchDenialsRequest { filter, recent } = request.into_inner();
        let filter = self.filter(&within, filter)?;
        let permit = self.observed.permit()?;
        let (observed, recent) = (Arc::clone(&self.observed), usize::try_from(recent).unwrap_or(usize::MAX));
        Ok(Response::new(Box::pin(DenialReports::new(observed, permit, filter, recent, within.is_everywhere()))))
    }

    async fn query_usage(&self, request: Request<QueryUsageRequest>) -> Result<Response<QueryUsageResponse>, Status> {
        let within = self.within(&request)?;
        let mut request = request.into_inner();
        within.filter(&mut request.filter.get_or_insert_default().domain)?;
        self.queries.answer(request).await.map(Response::new)
    }
}

/// A request contains a filter with a few names.
const MAX_REQUEST_BYTES: usize = 64 << 10;
