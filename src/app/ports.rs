//! The bound addresses, and the number of connections that each accepts.

use crate::net::{BindError, Bound, ConnectionLimit, bind};
use crate::settings::ListenSettings;

/// The bound addresses.
pub(super) struct Ports {
    pub(super) grpc: Bound,
    pub(super) http: Bound,
    pub(super) admin: Bound,
    pub(super) metrics: Option<Bound>,
}

/// The number of connections that each port accepts.
pub(super) struct PortLimits {
    pub(super) grpc: ConnectionLimit,
    pub(super) http: ConnectionLimit,
    pub(super) admin: ConnectionLimit,
    pub(super) metrics: ConnectionLimit,
}

impl Ports {
    pub(super) fn bind(listen: &ListenSettings) -> Result<Self, BindError> {
        Ok(Self {
            grpc: bind(&listen.grpc_addr, listen.worker_count(), "--grpc-addr")?,
            http: bind(&listen.http_addr, 1, "--http-addr")?,
            admin: bind(&listen.admin_addr, 1, "--admin-addr")?,
            metrics: listen.metrics_addr.as_ref().map(|address| bind(address, 1, "--metrics-addr")).transpose()?,
        })
    }

    /// The addresses that are really bound, for the log.
    pub(super) fn listening(&self) -> String {
        let Self { grpc, http, admin, metrics } = self;
        let metrics = metrics.as_ref().map(|metrics| format!(" metrics={}", metrics.address)).unwrap_or_default();
        format!("listening grpc={} http={} admin={}{metrics}", grpc.address, http.address, admin.address)
    }
}

impl PortLimits {
    pub(super) fn new(max: u32) -> Self {
        let [grpc, http, admin, metrics] = std::array::from_fn(|_| ConnectionLimit::new(max));
        Self { grpc, http, admin, metrics }
    }
}

/// Raises the limit on open files, because every connection is one and the soft limit is usually far below the hard one.
pub(super) fn raise_open_files(listen: &ListenSettings) {
    let wanted = u64::from(listen.max_connections);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!(
            "the limit on open files, {limit}, is below --max-connections {wanted}: raise it (ulimit -n) or lower the flag"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}
