//! Accepts connections: never more than the limit, and without stopping because of an error.

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

/// The limit on connections of one port, and counts. Shared by all listeners of the port.
#[derive(Clone, Debug)]
pub struct ConnectionLimit(Arc<LimitState>);

#[derive(Debug)]
struct LimitState {
    free: Arc<Semaphore>,
    max: usize,
    accepted: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

impl ConnectionLimit {
    /// A limit of `max` connections.
    pub fn new(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let (accepted, rejected, failed) = Default::default();
        Self(Arc::new(LimitState { free: Arc::new(Semaphore::new(max)), max, accepted, rejected, failed }))
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.0.max.saturating_sub(self.0.free.available_permits())
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Connections closed at once since the start, because the limit was reached.
    pub fn rejected(&self) -> u64 {
        self.0.rejected.load(Ordering::Relaxed)
    }

    /// Calls of accept that failed since the start (no file descriptor left, or the peer had closed the connection already).
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok();
        let counter = if permit.is_some() { &self.0.accepted } else { &self.0.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
        permit
    }
}

/// One listening socket of a runtime.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    connection_limit: ConnectionLimit,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection within the limit.
#[derive(Debug)]
pub enum Peer {
    /// Over TCP, with TCP_NODELAY, so that an answer does not wait for the next one.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Acceptor {
    /// Registers the socket with the runtime of the caller.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn new(socket: Socket, connection_limit: ConnectionLimit) -> io::Result<Self> {
        let listener = match socket {
            Socket::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Socket::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        };
        Ok(Self { listener, connection_limit })
    }

    /// Serves each connection in a task of its own until the process stops, then waits for the remaining ones.
    pub async fn serve<F>(self, mut phases: Phases, connection: impl Fn(Peer) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Each connection owns a sender, so the channel closes with the last one. Nothing is ever sent.
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

    /// Accepts the connections that the kernel has queued, so that they are served, not reset, when the listener closes.
    async fn queued(&self, begin: impl Fn((Peer, OwnedSemaphorePermit))) {
        // Lets the runtime poll the socket, which may have become ready since the last time.
        tokio::task::yield_now().await;
        for _ in 0..BACKLOG {
            match tokio::time::timeout(Duration::ZERO, self.next()).await {
                Ok(accepted) => begin(accepted),
                Err(_) => return,
            }
        }
    }

    /// The next connection and its permit, to be kept as long as the connection. Cancel safe.
    async fn next(&self) -> (Peer, OwnedSemaphorePermit) {
        loop {
            match self.accept().await {
                Ok(peer) => match self.connection_limit.take() {
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

    /// A peer that gave up is not an error; any other error (usually: no file descriptor left) would repeat at once.
    async fn pause_after(&self, error: &io::Error) {
        let failed = self.connection_limit.0.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !is_peer_gone(error) {
            // Fifty errors a second while it lasts, of which fewer and fewer are logged.
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

/// Long enough not to keep the core busy, short compared with the timeout of a connecting client.
const PAUSE: Duration = Duration::from_millis(20);
