//! Accepting: never more connections than there are slots, and never an end because of an error.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::Socket;
use super::bind::BACKLOG;
use super::probation::Probation;
use super::slots::{ConnectionLimit, Permit, Slot};
use crate::runtime::lifecycle::Phases;

/// One listening socket of a runtime.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Listener,
    connection_limit: ConnectionLimit,
    /// Calls of accept that failed (no file descriptor left, or the peer was gone already), for the log.
    failed: AtomicU64,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that has a slot.
#[derive(Debug)]
pub(crate) enum Peer {
    /// Over TCP, with TCP_NODELAY: an answer must not wait for the next one.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Acceptor {
    /// Registers the socket with the runtime of the caller.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub(crate) fn new(socket: Socket, connection_limit: ConnectionLimit) -> io::Result<Self> {
        let listener = match socket {
            Socket::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        };
        Ok(Self { listener, connection_limit, failed: AtomicU64::new(0) })
    }

    /// Serves each connection in a task of its own until the process stops, then waits for those that are left.
    pub(crate) async fn serve<F>(self, mut phases: Phases, connection: impl Fn(Peer, Arc<Slot>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Each connection holds a sender: the channel closes with the last of them. Nothing is ever sent.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        let probation = Probation::default();
        let giving_turns = tokio::spawn(probation.clone().give_turns());
        let begin = |(peer, permit): (Peer, Permit)| {
            let (slot, alive) = (Arc::clone(permit.slot()), alive.clone());
            // Boxed, as a future that is handed on as it is takes its room again in each that has it.
            let running = probation.clone().run(Box::pin(connection(peer, Arc::clone(&slot))), Arc::clone(&slot));
            let task = tokio::spawn(async move {
                running.await;
                drop((permit, alive));
            });
            slot.run_by(task.abort_handle());
        };
        let mut stopping = pin!(phases.stopping());
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                accepted = self.next() => {
                    begin(accepted);
                    // Those that are connected come first.
                    tokio::task::yield_now().await;
                }
                _ = ticks.tick() => self.connection_limit.tick(),
                () = &mut stopping => break,
            }
        }
        self.queued(begin).await;
        drop((self, alive));
        all_gone.recv().await;
        giving_turns.abort();
    }

    /// Connections that the kernel has accepted already are served, not reset, when the listener is about to close.
    async fn queued(&self, begin: impl Fn((Peer, Permit))) {
        // Lets the runtime look at the socket, which may have become ready since it last did.
        tokio::task::yield_now().await;
        for _ in 0..BACKLOG {
            match tokio::time::timeout(Duration::ZERO, self.next()).await {
                Ok(accepted) => begin(accepted),
                Err(_) => return,
            }
        }
    }

    /// The next connection, and its slot, to be held as long as the connection. Cancel safe.
    async fn next(&self) -> (Peer, Permit) {
        loop {
            match self.accept().await {
                Ok((peer, client)) => match self.connection_limit.take(client) {
                    Some(permit) => return (peer, permit),
                    None => drop(peer),
                },
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    /// The next connection, and the address of its client.
    async fn accept(&self) -> io::Result<(Peer, Option<IpAddr>)> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Peer::Tcp(stream), Some(address.ip())))
            }
            Listener::Unix(listener) => Ok((Peer::Unix(listener.accept().await?.0), None)),
        }
    }

    /// A peer that gave up is nobody's fault; anything else (usually: no file descriptor left) would return at once.
    async fn pause_after(&self, error: &io::Error) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !is_peer_gone(error) {
            // Fifty a second while it lasts: ever fewer of them are logged.
            if failed.is_power_of_two() {
                tracing::warn!(%error, failed, "cannot accept connections");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn is_peer_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | NotConnected | InvalidInput)
}

/// Long enough not to burn the core, short against the timeout of a connecting client.
const PAUSE: Duration = Duration::from_millis(20);

/// How precisely it is known for how long connections are idle.
const TICK: Duration = Duration::from_secs(1);
