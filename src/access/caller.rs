//! The client of one connection, and the domains that it may check.

use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::Domains;
use super::clients::{ClientNames, Clients};
use super::file::AccessFile;
use crate::runtime::OnceAMinute;
use crate::sanitize::sanitize_within;

/// A client of the gRPC port: the names in its certificate, with what the file says about them.
#[derive(Debug)]
pub(crate) struct Caller {
    names: ClientNames,
    file: Arc<AccessFile<Clients>>,
    /// What the content says that it is made from.
    known: Mutex<(Arc<Clients>, Arc<Domains>)>,
}

impl Caller {
    /// The client with these names; without any it may check no domain.
    pub(crate) fn new(file: Arc<AccessFile<Clients>>, names: ClientNames) -> Self {
        let clients = Arc::clone(&file.current());
        let domains = Arc::new(clients.domains(&names));
        Self { names, file, known: Mutex::new((clients, domains)) }
    }

    /// The domains that it may check by the file in force. Cost: one short lock; after a change of the file, a look at each line.
    pub(crate) fn domains(&self) -> Arc<Domains> {
        let current = self.file.current();
        let mut known = self.known.lock();
        if !Arc::ptr_eq(&known.0, &current) {
            *known = (Arc::clone(&current), Arc::new(current.domains(&self.names)));
        }
        Arc::clone(&known.1)
    }

    /// Logs that one of its checks was rejected, once a minute for all clients.
    #[cold]
    pub(crate) fn note_rejected(&self) {
        static SAID: LazyLock<OnceAMinute> = LazyLock::new(OnceAMinute::default);
        if SAID.may_say() {
            let ClientNames { uris, dns } = &self.names;
            let shown = |names: &[String]| sanitize_within(MAX_SHOWN_BYTES, &names.join(" "));
            tracing::warn!(
                uris = shown(uris),
                dns = shown(dns),
                "a client checked a domain that the file of --access does not give it; tidegate_access_denied_checks_total counts them by domain"
            );
        }
    }
}

/// Bytes of names in a line of the log.
const MAX_SHOWN_BYTES: usize = 500;
