//! The process that fired an alert: each of several replicas counts on its own and sends its own notifications.

use rustix::system::uname;

use crate::sanitize::sanitize;

/// One process, as its notifications name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The host's name, in Kubernetes the pod's.
    pub host: String,
    /// The process's id, which `tidegate.v1.UsageService` reports as `instance.id`; a new one at every start.
    pub id: String,
}

impl Instance {
    /// This process on this host.
    pub(crate) fn here(id: String) -> Self {
        Self { host: sanitize(&uname().nodename().to_string_lossy()), id }
    }
}
