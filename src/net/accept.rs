//! Accepting: never more connections than there are slots, and never an end because of an error.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Socket;
use super::bind::BACKLOG;
use crate::runtime::lifecycle::Phases;

/// How many connections one port may have, and how many there were. Shared by all that accept on the port.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit(Arc<LimitState>);

#[derive(Debug)]
struct LimitState {
    free: Arc<Semaphore>,
    max: usize,
    rejected: AtomicU64,
    /// Calls of accept that failed (no file descriptor left, or the peer was gone already), for the log.
    failed: AtomicU64,
}

impl ConnectionLimit {
    /// Room for `max` connections.
    pub(crate) fn new(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let (rejected, failed) = Default::default();
        Self(Arc::new(LimitState { free: Arc::new(Semaphore::new(max)), max, rejected, failed }))
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.0.max.saturating_sub(self.0.free.available_permits())
    }

    /// Connections closed at once since the start, because every slot was taken.
    pub(crate) fn rejected(&self) -> u64 {
        self.0.rejected.load(Ordering::Relaxed)
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok();
        if permit.is_none() {
            self.0.rejected.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }
}

/// One listening socket of a runtime.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Listener,
    connection_limit: ConnectionLimit,
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
        Ok(Self { listener, connection_limit })
    }

    /// Serves each connection in a task of its own until the process stops, then waits for those that are left.
    pub(crate) async fn serve<F>(self, mut phases: Phases, connection: impl Fn(Peer) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Each connection holds a sender: the channel closes with the last of them. Nothing is ever sent.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        let begin = |(peer, permit): (Peer, OwnedSemaphorePermit)| {
            let (connection, alive) = (connection(peer), alive.clone());
            tokio::spawn(async move {
                connection.await;
                drop((permit, alive));
            });
        };
        let mut stopping = pin!(phases.stopping());
        loop {
            tokio::select! {
                accepted = self.next() => begin(accepted),
                () = &mut stopping => break,
            }
        }
        self.queued(begin).await;
        drop((self, alive));
        all_gone.recv().await;
    }

    /// Connections that the kernel has accepted already are served, not reset, when the listener is about to close.
    async fn queued(&self, begin: impl Fn((Peer, OwnedSemaphorePermit))) {
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
    async fn next(&self) -> (Peer, OwnedSemaphorePermit) {
        loop {
            match self.accept().await {
                Ok(peer) => match self.connection_limit.try_acquire() {
                    Some(permit) => return (peer, permit),
                    None => drop(peer),
                },
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    async fn accept(&self) -> io::Result<Peer> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Peer::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Peer::Unix(listener.accept().await?.0)),
        }
    }

    /// A peer that gave up is nobody's fault; anything else (usually: no file descriptor left) would return at once.
    async fn pause_after(&self, error: &io::Error) {
        let failed = self.connection_limit.0.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
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
