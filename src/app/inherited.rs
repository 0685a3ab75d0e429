//! Listening sockets that another process has bound: systemd, or the one whose place this one takes.

use std::io;
use std::os::fd::OwnedFd;

use crate::net::{Address, Bound, Socket};

/// A port, by the name that its sockets have for systemd (`FileDescriptorName=`) and in a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Grpc,
    Http,
    Admin,
    Metrics,
}

/// Sockets by port.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<(Port, Socket)>);

/// Why sockets from systemd cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenFdsError {
    /// The variables are not those of systemd.
    #[error("--listen-fds: {0}; systemd sets LISTEN_FDS and LISTEN_PID for a service with a .socket unit")]
    Variables(String),
    /// A socket has a name that is no port's.
    #[error("--listen-fds: a socket has the name '{0}': use FileDescriptorName=grpc, http, admin or metrics")]
    Name(String),
    /// A file descriptor is not a listening socket.
    #[error("--listen-fds: socket {place} ({port}): {error}")]
    Socket {
        /// Its place, from 1.
        place: usize,
        /// The port that it is for.
        port: &'static str,
        /// What is wrong.
        error: io::Error,
    },
}

impl Port {
    pub(super) const ALL: [Self; 4] = [Self::Grpc, Self::Http, Self::Admin, Self::Metrics];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|port| port.name() == name)
    }
}

impl Inherited {
    /// The sockets that systemd passes: by name, those without one in the order grpc, http, admin, metrics.
    ///
    /// # Errors
    /// There are none, or they cannot be used.
    pub(super) fn from_systemd() -> Result<Self, ListenFdsError> {
        let count = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<usize>().ok());
        match count {
            Some(1..=MAX_SOCKETS) => {}
            Some(0) | None => return Err(ListenFdsError::Variables("no socket was passed".to_owned())),
            Some(count) => {
                return Err(ListenFdsError::Variables(format!("{count} sockets, at most {MAX_SOCKETS} are possible")));
            }
        }
        let passed = sd_listen_fds::get().map_err(|error| ListenFdsError::Variables(error.to_string()))?;
        if passed.is_empty() {
            return Err(ListenFdsError::Variables("LISTEN_PID is not this process".to_owned()));
        }
        let mut unnamed = Port::ALL.into_iter();
        let mut sockets = Vec::with_capacity(passed.len());
        for (place, (name, socket)) in (1..).zip(passed) {
            // systemd names sockets without a name after their unit, or `unknown`.
            let port = match name.as_deref() {
                None | Some("" | "unknown") => unnamed.next(),
                Some(name) if name.ends_with(".socket") => unnamed.next(),
                Some(name) => Some(Port::named(name).ok_or_else(|| ListenFdsError::Name(name.to_owned()))?),
            };
            let port = port.ok_or_else(|| ListenFdsError::Variables("more sockets than ports".to_owned()))?;
            let failure = |error| ListenFdsError::Socket { place, port: port.name(), error };
            sockets.push((port, Socket::listening(socket.into_std()).map_err(failure)?));
        }
        Ok(Self(sockets))
    }

    /// The sockets of another process, by the names of their ports.
    ///
    /// # Errors
    /// The names do not fit, or one is not a listening socket.
    pub(super) fn passed(names: &str, sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let names: Vec<&str> = names.split_whitespace().collect();
        if names.len() != sockets.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the sockets have other names"));
        }
        let pairs = names.into_iter().zip(sockets).map(|(name, socket)| {
            let port = Port::named(name).ok_or(io::ErrorKind::InvalidData)?;
            Ok((port, Socket::listening(socket)?))
        });
        pairs.collect::<io::Result<_>>().map(Self)
    }

    /// How many sockets there are for a port.
    pub(super) fn count(&self, port: Port) -> usize {
        self.0.iter().filter(|(known, _)| *known == port).count()
    }

    /// Whether there is a socket for a port, with the address that is wanted.
    pub(super) fn has(&self, port: Port, wanted: Option<&Address>) -> bool {
        let first = self.0.iter().find(|(known, _)| *known == port);
        first.is_some_and(|(_, socket)| wanted.is_none_or(|wanted| socket.is_at(wanted)))
    }

    /// Whether an address may be in use because of these sockets.
    pub(super) fn block(&self, address: &Address) -> bool {
        self.0.iter().any(|(_, socket)| socket.blocks(address))
    }

    /// Takes the sockets of a port, as `count` of them, if they have the address that is wanted; others are closed.
    ///
    /// # Errors
    /// The system has no further file descriptor.
    pub(super) fn take(&mut self, port: Port, wanted: Option<&Address>, count: usize) -> io::Result<Option<Bound>> {
        let (own, others) = std::mem::take(&mut self.0).into_iter().partition(|(known, _)| *known == port);
        self.0 = others;
        let own: Vec<Socket> = own.into_iter().map(|(_, socket)| socket).collect();
        Bound::inherited(own, wanted, count)
    }
}

/// A .socket unit has a few addresses for each port.
const MAX_SOCKETS: usize = 64;
