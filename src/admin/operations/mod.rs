//! `tidegate.v1.AdminService`: reads messages, calls [`Operations`], and writes messages.

mod candidate;
mod counters;
mod explain;
mod limits;
mod messages;
mod record;
mod scope_filter;
mod settings;

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::within::Within;
use crate::api::proto::tidegate::v1 as proto;
use crate::api::proto::tidegate::v1::admin_service_server::{AdminService, AdminServiceServer};
use crate::limiter::Limiter;
use crate::operations::{Author, Operations};
use crate::recording::Recordings;
use crate::runtime::clock::Clock;
use crate::sharing::Asker;
use counters::{Fresh, FreshThere};
use messages::joined;
use scope_filter::ScopeFilter;

pub(crate) use limits::limits_page;

/// The admin service.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    operations: Arc<Operations>,
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
    recordings: Arc<Recordings>,
    /// Asks the store of shared counters, if there is one.
    asker: Option<Arc<Asker>>,
}

impl Admin {
    /// On these operations.
    pub(crate) fn new(
        operations: Arc<Operations>,
        limiter: Arc<Limiter>,
        clock: Arc<Clock>,
        recordings: Arc<Recordings>,
        asker: Option<Arc<Asker>>,
    ) -> Self {
        Self { operations, limiter, clock, recordings, asker }
    }

    /// As a service of gRPC.
    pub(crate) fn service(self) -> AdminServiceServer<Self> {
        AdminServiceServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    fn within<T>(&self, request: &Request<T>) -> Result<Within, Status> {
        Within::of(request, &self.limiter)
    }

    /// Carries out a request on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Self) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let admin = self.clone();
        let answer = tokio::task::spawn_blocking(move || request(&admin));
        answer.await.map_err(|_| Status::internal("the request failed; see the log"))?.map(Response::new)
    }

    /// Carries out a change, and waits until other replicas can have it.
    async fn change<T: Warned + Send + 'static>(
        &self,
        request: impl FnOnce(&Self) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let mut answer = self.run(request).await?;
        let warning = answer.get_mut().warning();
        if let Some(unshared) = self.operations.until_shared().await {
            *warning = joined([std::mem::take(warning), unshared]);
        }
        Ok(answer)
    }

    /// Makes counters fresh: on the store of shared counters first, so that whatever is heard of them afterwards is so.
    async fn make_fresh<T: Warned + Send + 'static>(
        &self,
        counters: Fresh,
        answer: impl FnOnce(u64, String) -> T + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let there = match &self.asker {
            None => FreshThere::default(),
            Some(asker) => {
                let named = counters.clone();
                let keys = self.run(move |admin| named.shared_keys(&admin.operations)).await?.into_inner();
                FreshThere::reset(asker, &self.limiter, keys, counters.only_banned).await
            }
        };
        self.change(move |admin| counters.here(&admin.operations, there).map(|(count, warning)| answer(count, warning)))
            .await
    }
}

/// Who sends a request, and why it is sent.
fn author(within: &Within, reason: &str) -> Author {
    Author { principal: within.principal().name.clone(), reason: reason.to_owned() }
}

#[tonic::async_trait]
impl AdminService for Admin {
    type RecordChecksStream = Pin<Box<dyn Stream<Item = Result<proto::RecordedChecks, Status>> + Send>>;

    async fn list_settings(
        &self,
        request: Request<proto::ListSettingsRequest>,
    ) -> Result<Response<proto::ListSettingsResponse>, Status> {
        let within = self.within(&request)?;
        let proto::ListSettingsRequest { rule, domain, entries } = request.into_inner();
        let filter = ScopeFilter { rule, domain, entries };
        self.run(move |admin| {
            let mut listed = settings::list(&admin.operations);
            let is_listed =
                |scope: Option<&proto::SettingScope>| within.sees_scope(scope) && filter.takes(scope, &admin.limiter);
            listed.settings.retain(|setting| is_listed(setting.scope.as_ref()));
            Ok(listed)
        })
        .await
    }

    async fn get_setting(
        &self,
        request: Request<proto::GetSettingRequest>,
    ) -> Result<Response<proto::GetSettingResponse>, Status> {
        self.within(&request)?.scope(request.get_ref().scope.as_ref())?;
        let request = request.into_inner();
        self.run(|admin| settings::get(&admin.operations, request)).await
    }

    async fn set_setting(
        &self,
        request: Request<proto::SetSettingRequest>,
    ) -> Result<Response<proto::SetSettingResponse>, Status> {
        let within = self.within(&request)?;
        within.scope(request.get_ref().scope.as_ref())?;
        let author = author(&within, &request.get_ref().reason);
        let request = request.into_inner();
        self.change(|admin| settings::set(&admin.operations, request, author)).await
    }

    async fn unset_setting(
        &self,
        request: Request<proto::UnsetSettingRequest>,
    ) -> Result<Response<proto::UnsetSettingResponse>, Status> {
        let within = self.within(&request)?;
        within.scope(request.get_ref().scope.as_ref())?;
        let author = author(&within, &request.get_ref().reason);
        let request = request.into_inner();
        self.change(move |admin| settings::unset(&admin.operations, request, &author)).await
    }

    async fn list_audit(
        &self,
        request: Request<proto::ListAuditRequest>,
    ) -> Result<Response<proto::ListAuditResponse>, Status> {
        let within = self.within(&request)?;
        let mut request = request.into_inner();
        let (rule, domain) = (std::mem::take(&mut request.rule), std::mem::take(&mut request.domain));
        let filter = ScopeFilter { rule, domain, entries: std::mem::take(&mut request.entries) };
        self.run(move |admin| {
            let is_listed = |scope: Option<&proto::SettingScope>| {
                // What has no scope concerns all domains.
                within.sees_scope(scope) && filter.takes(scope, &admin.limiter)
            };
            let listed = settings::audit(&admin.operations, admin.clock.now(), &request, is_listed)?;
            let dropped = if within.is_everywhere() { listed.dropped } else { 0 };
            Ok(proto::ListAuditResponse { dropped, ..listed })
        })
        .await
    }

    async fn list_counters(
        &self,
        request: Request<proto::ListCountersRequest>,
    ) -> Result<Response<proto::ListCountersResponse>, Status> {
        let within = self.within(&request)?;
        let mut request = request.into_inner();
        within.filter(&mut request.domain)?;
        let asker = match (request.shared, &self.asker) {
            (false, _) => None,
            (true, Some(asker)) => Some(asker),
            (true, None) => return Err(Status::failed_precondition("this server has no store of shared counters")),
        };
        let page = self.run(move |admin| counters::page(&admin.operations, &admin.limiter, request)).await?;
        let page = match asker {
            None => page.into_inner(),
            Some(asker) => counters::as_shared(asker, &self.limiter, page.into_inner()).await?,
        };
        let page = counters::response(page, &self.limiter);
        // How many counters there are says how busy others are.
        let (searched, total) = if within.is_everywhere() { (page.searched, page.total) } else { (0, 0) };
        Ok(Response::new(proto::ListCountersResponse { searched, total, ..page }))
    }

    async fn reset_counters(
        &self,
        request: Request<proto::ResetCountersRequest>,
    ) -> Result<Response<proto::ResetCountersResponse>, Status> {
        let within = self.within(&request)?;
        within.rule(&request.get_ref().rule)?;
        let author = author(&within, &request.get_ref().reason);
        let proto::ResetCountersRequest { rule, entries, .. } = request.into_inner();
        let counters = Fresh::read(rule, entries, author, false)?;
        self.make_fresh(counters, |reset, warning| proto::ResetCountersResponse { reset, warning }).await
    }

    async fn ban_counter(
        &self,
        request: Request<proto::BanCounterRequest>,
    ) -> Result<Response<proto::BanCounterResponse>, Status> {
        let within = self.within(&request)?;
        within.rule(&request.get_ref().rule)?;
        let author = author(&within, &request.get_ref().reason);
        let request = request.into_inner();
        self.change(move |admin| counters::ban(&admin.operations, request, &author)).await
    }

    async fn unban_counters(
        &self,
        request: Request<proto::UnbanCountersRequest>,
    ) -> Result<Response<proto::UnbanCountersResponse>, Status> {
        let within = self.within(&request)?;
        within.rule(&request.get_ref().rule)?;
        let author = author(&within, &request.get_ref().reason);
        let proto::UnbanCountersRequest { rule, entries, .. } = request.into_inner();
        let counters = Fresh::read(rule, entries, author, true)?;
        self.make_fresh(counters, |unbanned, warning| proto::UnbanCountersResponse { unbanned, warning }).await
    }

    async fn explain(
        &self,
        request: Request<proto::ExplainRequest>,
    ) -> Result<Response<proto::ExplainResponse>, Status> {
        self.within(&request)?.domain(&request.get_ref().domain)?;
        let request = request.into_inner();
        self.run(|admin| explain::explain(&admin.operations, request)).await
    }

    async fn list_limits(
        &self,
        request: Request<proto::ListLimitsRequest>,
    ) -> Result<Response<proto::ListLimitsResponse>, Status> {
        self.within(&request)?.domain(&request.get_ref().domain)?;
        let request = request.into_inner();
        self.run(|admin| limits::list(&admin.limiter, admin.clock.now(), request)).await
    }

    async fn start_candidate(
        &self,
        request: Request<proto::StartCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let within = self.within(&request)?;
        within.everywhere()?;
        let author = author(&within, "");
        let request = request.into_inner();
        self.run(move |admin| candidate::start(&admin.operations, request, &author)).await
    }

    async fn get_candidate(
        &self,
        request: Request<proto::GetCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let within = self.within(&request)?;
        self.run(move |admin| Ok(candidate::seen(candidate::status(&admin.operations), &within))).await
    }

    async fn promote_candidate(
        &self,
        request: Request<proto::PromoteCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let within = self.within(&request)?;
        within.everywhere()?;
        let author = author(&within, "");
        self.change(move |admin| candidate::promote(&admin.operations, &author)).await
    }

    async fn stop_candidate(
        &self,
        request: Request<proto::StopCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let within = self.within(&request)?;
        within.everywhere()?;
        let author = author(&within, "");
        self.run(move |admin| candidate::stop(&admin.operations, &author)).await
    }

    async fn record_checks(
        &self,
        request: Request<proto::RecordChecksRequest>,
    ) -> Result<Response<Self::RecordChecksStream>, Status> {
        let within = self.within(&request)?;
        let author = author(&within, &request.get_ref().reason);
        let asked = record::Asked::read(request.into_inner(), &within)?;
        let started = self.run(move |admin| {
            let (operations, limiter) = (Arc::clone(&admin.operations), Arc::clone(&admin.limiter));
            asked.start(&admin.recordings, operations, limiter, Arc::clone(&admin.clock), author)
        });
        Ok(started.await?.map(|recorded| Box::pin(recorded) as Self::RecordChecksStream))
    }
}

/// An answer to a change, with what the operator should know.
trait Warned {
    fn warning(&mut self) -> &mut String;
}

macro_rules! warned {
    ($($answer:ident),+) => {
        $(impl Warned for proto::$answer {
            fn warning(&mut self) -> &mut String {
                &mut self.warning
            }
        })+
    };
}

warned!(
    SetSettingResponse,
    UnsetSettingResponse,
    ResetCountersResponse,
    BanCounterResponse,
    UnbanCountersResponse,
    CandidateStatus
);

/// The largest request has the files of a candidate.
const MAX_REQUEST_BYTES: usize = 5 << 20;
