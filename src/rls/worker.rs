//! The worker threads, which decide.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use std::{io, thread};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::age::Age;
use super::lean::Gathered;
use super::services::{OtherCalls, Services};
use super::{connection, lean};
use crate::access::{Caller, ClientFile, ClientNames};
use crate::grpc::Ready;
use crate::limiter::WorkerSlot;
use crate::net::{
    Acceptor, Closed, ConnectionLimit, FrontEnd, Metered, PartialBytes, Peer, PeerNames, Protocol, Slot, Socket,
    TlsServer, is_flood, open_while_serving,
};
use crate::runtime::lifecycle::Phases;
use crate::service::Service;

/// What all workers share.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The service that decides; each worker has a clone with its own slot.
    pub service: Service,
    /// The limit on connections of all workers together.
    pub connection_limit: ConnectionLimit,
    /// The bound on incomplete requests of the process.
    pub partial: PartialBytes,
    /// The bound on other calls than checks, of all workers together.
    pub other_calls: OtherCalls,
    /// `None`: plain text.
    pub tls: Option<Arc<TlsServer>>,
    /// What health needs besides the phase.
    pub ready: Ready,
    /// Which client may check which domains; `None`: every client all.
    pub clients: Option<Arc<ClientFile>>,
    /// After how long a connection is ended, and how long it may go on then; `None`: never.
    pub age: Option<(Duration, Duration)>,
    /// The implementation of HTTP/2.
    pub front_end: FrontEnd,
}

/// The running workers.
#[derive(Debug)]
pub(crate) struct Workers {
    ended: Vec<oneshot::Receiver<()>>,
}

impl Workers {
    /// Starts one worker for each socket.
    ///
    /// # Errors
    /// The system cannot create another thread or event queue.
    pub(crate) fn start(sockets: Vec<Socket>, context: &Context) -> io::Result<Self> {
        let workers = sockets.into_iter().enumerate();
        let ended = workers.map(|(index, socket)| start(index, socket, context.clone())).collect::<io::Result<_>>()?;
        Ok(Self { ended })
    }

    /// Waits until a worker has ended, which is a failure unless the process stops. Cancel safe.
    pub(crate) async fn any_ended(&mut self) {
        poll_fn(|cx| {
            let is_over = |worker: &mut oneshot::Receiver<()>| pin!(worker).poll(cx).is_ready();
            if self.ended.iter_mut().any(is_over) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until every worker has sent its last answer.
    pub(crate) async fn all_ended(self) {
        for worker in self.ended {
            // An error means that the thread has panicked, which is an end too.
            let _gone = worker.await;
        }
    }
}

fn start(index: usize, socket: Socket, context: Context) -> io::Result<oneshot::Receiver<()>> {
    let gathered = Gathered::default();
    let turns = gathered.clone();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(move || turns.end_turn()).build()?;
    let acceptor = {
        let _inside = runtime.enter();
        Acceptor::new(socket, context.connection_limit.clone())?
    };
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name(format!("tidegate-{index}")).spawn(move || {
        runtime.block_on(run(acceptor, context, WorkerSlot(index), gathered));
        // After the deadline the receiver has been dropped.
        let _late = end.send(());
    })?;
    Ok(ended)
}

async fn run(acceptor: Acceptor, context: Context, worker: WorkerSlot, gathered: Gathered) {
    let local = context.service.phases.relayed();
    let (partial, calls) = (context.partial.of_port(), context.other_calls.clone());
    let services = Services::new(&context.service, worker, partial, calls, &context.ready);
    let deciding = tokio::spawn(gathered.clone().run(services.clone()));
    let connection = |peer, slot: Arc<Slot>| {
        let (services, tls, mut phases) = (services.clone(), context.tls.clone(), local.clone());
        let (clients, terms) = (context.clients.clone(), (context.age, context.front_end, gathered.clone()));
        // A client without a certificate has no name, so it may check no domain if there is a file.
        let nameless = ClientNames::default;
        let services_of = move |names: &dyn Fn() -> ClientNames| match clients {
            Some(clients) => services.of(Caller::new(clients, names())),
            None => services,
        };
        // TLS is boxed, or every connection would have room for it.
        async move {
            match peer {
                Peer::Tcp(stream) => match tls {
                    None => serve(stream, services_of(&nameless), slot, phases, terms).await,
                    Some(tls) => {
                        let Some(stream) = Box::pin(tls.accept(stream, &mut phases)).await else { return };
                        let services = services_of(&|| {
                            let PeerNames { uris, dns } = PeerNames::of(&stream);
                            ClientNames { uris, dns }
                        });
                        Box::pin(serve(stream, services, slot, phases, terms)).await;
                    }
                },
                Peer::Unix(stream) => serve(stream, services_of(&nameless), slot, phases, terms).await,
            }
        }
    };
    acceptor.serve(context.service.phases, connection).await;
    deciding.abort();
}

/// Serves one connection until it ends.
async fn serve<S>(
    stream: S,
    services: Services,
    slot: Arc<Slot>,
    mut phases: Phases,
    (age, front_end, gathered): (Option<(Duration, Duration)>, FrontEnd, Gathered),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = match open_while_serving(stream, &mut phases).await {
        Ok((Protocol::Http2, stream)) => stream,
        Ok((Protocol::Http1, stream)) => {
            Box::pin(close(stream)).await;
            return tracing::debug!("connection closed: not HTTP/2");
        }
        Err(error) => return tracing::debug!(%error, "connection closed"),
    };
    let (stream, age) = (Metered::http2(stream, Arc::clone(&slot)), age.map(Age::new));
    // Boxed: a connection without a first byte has no room for HTTP/2.
    match front_end {
        FrontEnd::Lean => {
            let served = Box::pin(lean::serve(stream, services, Arc::clone(&slot), phases, age, gathered));
            if let Err(error) = served.await {
                note_end(&error, error.is_flood(), &slot);
            }
        }
        FrontEnd::H2 => {
            if let Err(error) = Box::pin(connection::serve(stream, services, Arc::clone(&slot), phases, age)).await {
                note_end(&error, is_flood(&error), &slot);
            }
        }
    }
}

/// Closes a connection of another protocol. What has arrived is read first, because otherwise the peer would see a reset.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut rest = [0; 1 << 10];
    // The bytes that were looked at, and what came with them.
    for _ in 0..2 {
        let Ok(Ok(1..)) = timeout(Duration::ZERO, stream.read(&mut rest)).await else { break };
    }
    let _gone = timeout(Duration::ZERO, stream.shutdown()).await;
}

fn note_end(error: &(dyn std::error::Error + 'static), is_flood: bool, slot: &Slot) {
    if is_flood {
        slot.count(Closed::Flood);
    }
    tracing::debug!(error, "connection ended");
}
