//! Which process fired: of several replicas each counts on its own, and each sends its own messages.

use rustix::system::uname;

use crate::sanitize::sanitize;

/// One process, as its messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// The host's name, in Kubernetes the pod's.
    pub host: String,
    /// The process's own id, which `tidegate.v1.UsageService` reports as `instance.id`; another after every start.
    pub id: String,
}

impl Instance {
    /// This process on this host.
    pub(crate) fn here(id: String) -> Self {
        Self { host: sanitize(&uname().nodename().to_string_lossy()), id }
    }
}
