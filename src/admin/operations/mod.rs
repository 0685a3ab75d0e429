//! `tidegate.v1.AdminService`: reads messages, calls [`Operations`], and writes messages.

mod candidate;
mod counters;
mod explain;
mod limits;
mod messages;
mod settings;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::api::proto::tidegate::v1 as proto;
use crate::api::proto::tidegate::v1::admin_service_server::{AdminService, AdminServiceServer};
use crate::limiter::Limiter;
use crate::net::PeerAddress;
use crate::operations::{Author, Operations};
use crate::runtime::clock::Clock;

pub(crate) use limits::limits_page;

/// The admin service.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    operations: Arc<Operations>,
    limiter: Arc<Limiter>,
    clock: Arc<Clock>,
}

impl Admin {
    /// The service on these operations.
    pub(crate) fn service(
        operations: Arc<Operations>,
        limiter: Arc<Limiter>,
        clock: Arc<Clock>,
    ) -> AdminServiceServer<Self> {
        let admin = Self { operations, limiter, clock };
        AdminServiceServer::new(admin).max_decoding_message_size(MAX_REQUEST_BYTES)
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
}

/// Who sends a request, and why it is sent.
fn author<T>(request: &Request<T>, reason: &str) -> Author {
    let peer = request.extensions().get::<PeerAddress>();
    let principal = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.0.ip().to_string());
    Author { principal, reason: reason.to_owned() }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn list_settings(
        &self,
        _request: Request<proto::ListSettingsRequest>,
    ) -> Result<Response<proto::ListSettingsResponse>, Status> {
        self.run(|admin| Ok(settings::list(&admin.operations))).await
    }

    async fn get_setting(
        &self,
        request: Request<proto::GetSettingRequest>,
    ) -> Result<Response<proto::GetSettingResponse>, Status> {
        let request = request.into_inner();
        self.run(|admin| settings::get(&admin.operations, request)).await
    }

    async fn set_setting(
        &self,
        request: Request<proto::SetSettingRequest>,
    ) -> Result<Response<proto::SetSettingResponse>, Status> {
        let author = author(&request, &request.get_ref().reason);
        let request = request.into_inner();
        self.run(|admin| settings::set(&admin.operations, request, author)).await
    }

    async fn unset_setting(
        &self,
        request: Request<proto::UnsetSettingRequest>,
    ) -> Result<Response<proto::UnsetSettingResponse>, Status> {
        let author = author(&request, &request.get_ref().reason);
        let request = request.into_inner();
        self.run(move |admin| settings::unset(&admin.operations, request, &author)).await
    }

    async fn list_audit(
        &self,
        request: Request<proto::ListAuditRequest>,
    ) -> Result<Response<proto::ListAuditResponse>, Status> {
        let request = request.into_inner();
        self.run(move |admin| settings::audit(&admin.operations, admin.clock.now(), &request)).await
    }

    async fn list_counters(
        &self,
        request: Request<proto::ListCountersRequest>,
    ) -> Result<Response<proto::ListCountersResponse>, Status> {
        let request = request.into_inner();
        self.run(|admin| counters::list(&admin.operations, &admin.limiter, request)).await
    }

    async fn reset_counters(
        &self,
        request: Request<proto::ResetCountersRequest>,
    ) -> Result<Response<proto::ResetCountersResponse>, Status> {
        let author = author(&request, &request.get_ref().reason);
        let request = request.into_inner();
        self.run(move |admin| counters::reset(&admin.operations, request, &author)).await
    }

    async fn ban_counter(
        &self,
        request: Request<proto::BanCounterRequest>,
    ) -> Result<Response<proto::BanCounterResponse>, Status> {
        let author = author(&request, &request.get_ref().reason);
        let request = request.into_inner();
        self.run(move |admin| counters::ban(&admin.operations, request, &author)).await
    }

    async fn unban_counters(
        &self,
        request: Request<proto::UnbanCountersRequest>,
    ) -> Result<Response<proto::UnbanCountersResponse>, Status> {
        let author = author(&request, &request.get_ref().reason);
        let request = request.into_inner();
        self.run(move |admin| counters::unban(&admin.operations, request, &author)).await
    }

    async fn explain(
        &self,
        request: Request<proto::ExplainRequest>,
    ) -> Result<Response<proto::ExplainResponse>, Status> {
        let request = request.into_inner();
        self.run(|admin| explain::explain(&admin.operations, request)).await
    }

    async fn list_limits(
        &self,
        request: Request<proto::ListLimitsRequest>,
    ) -> Result<Response<proto::ListLimitsResponse>, Status> {
        let request = request.into_inner();
        self.run(|admin| limits::list(&admin.limiter, request)).await
    }

    async fn start_candidate(
        &self,
        request: Request<proto::StartCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let author = author(&request, "");
        let request = request.into_inner();
        self.run(move |admin| candidate::start(&admin.operations, request, &author)).await
    }

    async fn get_candidate(
        &self,
        _request: Request<proto::GetCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        self.run(|admin| Ok(candidate::status(&admin.operations))).await
    }

    async fn promote_candidate(
        &self,
        request: Request<proto::PromoteCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let author = author(&request, "");
        self.run(move |admin| candidate::promote(&admin.operations, &author)).await
    }

    async fn stop_candidate(
        &self,
        request: Request<proto::StopCandidateRequest>,
    ) -> Result<Response<proto::CandidateStatus>, Status> {
        let author = author(&request, "");
        self.run(move |admin| candidate::stop(&admin.operations, &author)).await
    }
}

/// The largest request has the files of a candidate.
const MAX_REQUEST_BYTES: usize = 5 << 20;
