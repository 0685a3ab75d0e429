//! The HTTP server of a port: a limit on connections, and a timeout for peers that send nothing.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::http2::is_flood;
use super::in_flight::{InFlight, count};
use crate::net::{
    Acceptor, Closed, ConnectionLimit, Metered, Opened, Peer, Protocol, Slot, Socket, TlsServer, Turn, http2_builder,
    open_while_serving,
};
use crate::runtime::lifecycle::Phases;

/// The address of a request's caller, among the extensions of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// One port.
#[derive(Debug)]
pub(crate) struct Server {
    acceptor: Acceptor,
    router: Router,
    /// `None`: plain text.
    tls: Option<Arc<TlsServer>>,
    phases: Phases,
    /// The requests of all connections.
    in_flight: InFlight,
}

impl Server {
    /// Serves `router` on the socket, over HTTP/1 and HTTP/2. Must be called within the runtime that serves.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub(crate) fn new(
        socket: Socket,
        connection_limit: ConnectionLimit,
        router: Router,
        tls: Option<Arc<TlsServer>>,
        phases: Phases,
    ) -> io::Result<Self> {
        Ok(Self {
            acceptor: Acceptor::new(socket, connection_limit)?,
            router,
            tls,
            phases,
            in_flight: InFlight::default(),
        })
    }

    /// Accepts until the process stops, then waits for the remaining connections.
    pub(crate) async fn run(self) {
        let Self { acceptor, router, tls, phases, in_flight } = self;
        let connection = |peer, slot: Arc<Slot>| {
            let router = router.clone().layer(from_fn_with_state(in_flight.on(Arc::clone(&slot)), count));
            let (tls, mut phases) = (tls.clone(), phases.clone());
            async move {
                match peer {
                    Peer::Tcp(stream) => {
                        let address = stream.peer_addr().ok().map(PeerAddress);
                        let router = match address {
                            Some(address) => router.layer(Extension(address)),
                            None => router,
                        };
                        match tls {
                            None => connection(stream, router, slot, phases).await,
                            Some(tls) => {
                                if let Some(stream) = Box::pin(tls.accept(stream, &mut phases)).await {
                                    Box::pin(connection(stream, router, slot, phases)).await;
                                }
                            }
                        }
                    }
                    Peer::Unix(stream) => connection(stream, router, slot, phases).await,
                }
            }
        };
        acceptor.serve(phases.clone(), connection).await;
    }
}

async fn connection<S>(stream: S, router: Router, slot: Arc<Slot>, mut phases: Phases)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ended = match open_while_serving(stream, &mut phases).await {
        // Boxed: a connection without a first byte has no room for either.
        Ok((Protocol::Http1, stream)) => Box::pin(http1_connection(stream, router, slot, phases)).await,
        Ok((Protocol::Http2, stream)) => Box::pin(http2_connection(stream, router, slot, phases)).await,
        Err(error) => return tracing::debug!(%error, "connection closed"),
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

async fn http1_connection<S>(stream: Opened<S>, router: Router, slot: Arc<Slot>, phases: Phases) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // It ends the process when the wall clock is before 1970 or after 9999.
        .auto_date_header(false)
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS);
    let stream = TokioIo::new(Metered::http1(stream, Arc::clone(&slot)));
    let connection = builder.serve_connection(stream, TowerToHyperService::new(router));
    until_ended(connection, http1::Connection::graceful_shutdown, &slot, phases).await
}

async fn http2_connection<S>(stream: Opened<S>, router: Router, slot: Arc<Slot>, phases: Phases) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(Metered::http2(stream, Arc::clone(&slot)));
    let connection = http2_builder().serve_connection(stream, TowerToHyperService::new(router));
    let ended = until_ended(connection, http2::Connection::graceful_shutdown, &slot, phases).await;
    if ended.as_ref().err().and_then(std::error::Error::source).is_some_and(is_flood) {
        slot.count(Closed::Flood);
    }
    ended
}

/// Drives a connection in turns, and shuts it down when the process stops or its slot is needed.
async fn until_ended<C>(connection: C, shut_down: fn(Pin<&mut C>), slot: &Slot, mut phases: Phases) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut stopping = pin!(phases.stopping());
    let mut is_shut_down = false;
    poll_fn(|cx| {
        match slot.begin_turn(cx.waker()) {
            Turn::Serve => {}
            Turn::SayGoodbye if !slot.is_hostile() => {
                if !std::mem::replace(&mut is_shut_down, true) {
                    shut_down(connection.as_mut());
                }
            }
            Turn::SayGoodbye | Turn::GiveUp => return Poll::Ready(Ok(())),
        }
        // First, so that a request that has arrived is answered.
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if !is_shut_down && stopping.as_mut().poll(cx).is_ready() {
            is_shut_down = true;
            shut_down(connection.as_mut());
            return connection.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await
}

/// The time for the headers of a request, and for which an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The buffer of one connection, and so the longest header block: as on the gRPC port, because `/json` answers checks too.
const HEADER_BYTES: usize = 128 << 10;

/// Headers of one request. The reference service bounds only their bytes; each has a few dozen.
const HEADERS: usize = 1_000;
