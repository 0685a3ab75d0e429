//! The bound addresses, and the number of connections that each accepts.

use std::io::ErrorKind;
use std::os::fd::RawFd;

use super::inherited::{Inherited, Port};
use crate::net::{Address, BindError, Bound, ConnectionLimit, Socket, bind};
use crate::settings::ListenSettings;

/// The bound addresses.
pub(super) struct Ports {
    pub(super) grpc: Bound,
    pub(super) http: Bound,
    pub(super) admin: Bound,
    pub(super) metrics: Option<Bound>,
    /// Of the port that only shows.
    pub(super) debug: Option<Bound>,
}

/// The number of connections that each port accepts.
pub(super) struct PortLimits {
    pub(super) grpc: ConnectionLimit,
    pub(super) http: ConnectionLimit,
    pub(super) admin: ConnectionLimit,
    pub(super) metrics: ConnectionLimit,
    pub(super) debug: ConnectionLimit,
}

impl Ports {
    /// Binds the addresses of ports for which no socket with that address is inherited. Sockets from systemd have whatever address it gave
    /// them.
    pub(super) fn bind(listen: &ListenSettings, mut inherited: Inherited) -> Result<Self, BindError> {
        let mut port = |port: Port, address: &Address, count: usize, flag: &'static str| {
            let wanted = (!listen.listen_fds).then_some(address);
            let failure = |cause| BindError { address: address.clone(), flag, cause };
            match inherited.take(port, wanted, count).map_err(failure)? {
                Some(bound) if listen.listen_fds => Ok(bound),
                Some(bound) => Ok(bound.owning_its_file()),
                None => bind(address, count, flag),
            }
        };
        let metrics = listen.metrics_addr.as_ref();
        Ok(Self {
            grpc: port(Port::Grpc, &listen.grpc_addr, listen.worker_count(), "--grpc-addr")?,
            http: port(Port::Http, &listen.http_addr, 1, "--http-addr")?,
            admin: port(Port::Admin, &listen.admin_addr, 1, "--admin-addr")?,
            metrics: metrics.map(|address| port(Port::Metrics, address, 1, "--metrics-addr")).transpose()?,
            debug: listen.debug_addr.as_ref().and_then(bind_debug),
        })
    }

    /// The sockets once more, to be passed to another process.
    pub(super) fn copies(&self) -> std::io::Result<Vec<(Port, Socket)>> {
        let Self { grpc, http, admin, metrics, debug: _ } = self;
        let ports = [
            (Port::Grpc, Some(grpc)),
            (Port::Http, Some(http)),
            (Port::Admin, Some(admin)),
            (Port::Metrics, metrics.as_ref()),
        ];
        let sockets = ports.into_iter().filter_map(|(port, bound)| Some((port, bound?)));
        let sockets = sockets.flat_map(|(port, bound)| bound.sockets.iter().map(move |socket| (port, socket)));
        sockets.map(|(port, socket)| Ok((port, socket.try_clone()?))).collect()
    }

    /// The addresses that are really bound, for the log.
    pub(super) fn listening(&self) -> String {
        let Self { grpc, http, admin, metrics, debug } = self;
        let shown = |name: &str, port: &Option<Bound>| {
            port.as_ref().map(|port| format!(" {name}={}", port.address)).unwrap_or_default()
        };
        let (metrics, debug) = (shown("metrics", metrics), shown("debug", debug));
        format!("listening grpc={} http={} admin={}{metrics}{debug}", grpc.address, http.address, admin.address)
    }
}

/// Whether the addresses can be bound for which no socket is inherited, while another process still serves those that it has passed.
///
/// # Errors
/// One cannot, for another reason than that process.
pub(super) fn check(listen: &ListenSettings, inherited: &Inherited, passed: &Inherited) -> Result<(), BindError> {
    let ports = [
        (Port::Grpc, Some(&listen.grpc_addr), "--grpc-addr"),
        (Port::Http, Some(&listen.http_addr), "--http-addr"),
        (Port::Admin, Some(&listen.admin_addr), "--admin-addr"),
        (Port::Metrics, listen.metrics_addr.as_ref(), "--metrics-addr"),
    ];
    for (port, address, flag) in ports {
        let Some(address) = address else { continue };
        if inherited.has(port, (!listen.listen_fds).then_some(address)) {
            continue;
        }
        match bind(address, 1, flag) {
            Err(error) if error.cause.kind() == ErrorKind::AddrInUse && passed.block(address) => {}
            bound => drop(bound?),
        }
    }
    Ok(())
}

impl PortLimits {
    pub(super) fn new(listen: &ListenSettings) -> Self {
        let [grpc, http, admin, metrics, debug] = ["grpc", "http", "admin", "metrics", "debug"]
            .map(|port| ConnectionLimit::new(port, listen.max_connections, listen.max_connections_per_client));
        Self { grpc, http, admin, metrics, debug }
    }
}

/// The service can do without this port, as in the reference.
fn bind_debug(address: &Address) -> Option<Bound> {
    bind(address, 1, "--debug-addr").map_err(|error| tracing::warn!("{error}; running without this port")).ok()
}

/// Makes room for as many open files as there may be connections: raises the limit, because the soft one is usually far below the hard
/// one, and lets the system enlarge its table of open files at once.
///
/// Otherwise it would enlarge the table when a connection is accepted, at 64, 128, 256 and so on. Once the process has threads, each
/// time makes the worker wait for all cores of the machine (`synchronize_rcu`): 13 ms were seen. Cost: 8 bytes a file.
pub(super) fn prepare_open_files(listen: &ListenSettings) {
    let wanted = u64::from(listen.max_connections);
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => return tracing::warn!(%error, "cannot raise the limit on open files"),
    };
    if limit < wanted {
        tracing::warn!(
            "the limit on open files, {limit}, is below --max-connections {wanted}: raise it (ulimit -n) or lower the flag"
        );
    }
    // A number that high makes the table long enough for it, and the table stays so when it is closed again.
    let highest = RawFd::try_from(wanted.min(limit.saturating_sub(1))).unwrap_or(RawFd::MAX);
    if let Err(error) = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), highest) {
        tracing::debug!(%error, "the table of open files stays short");
    }
}
