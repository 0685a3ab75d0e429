//! The HTTP server of a port: a limit on connections, and a timeout for peers that send nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::{
    Acceptor, ConnectionLimit, Opened, Peer, Protocol, Socket, TlsServer, http2_builder, open_while_serving,
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
        Ok(Self { acceptor: Acceptor::new(socket, connection_limit)?, router, tls, phases })
    }

    /// Accepts until the process stops, then waits for the remaining connections.
    pub(crate) async fn run(self) {
        let Self { acceptor, router, tls, phases } = self;
        let connection = |peer| {
            let (router, tls, mut phases) = (router.clone(), tls.clone(), phases.clone());
            async move {
                match peer {
                    Peer::Tcp(stream) => {
                        let address = stream.peer_addr().ok().map(PeerAddress);
                        let router = match address {
                            Some(address) => router.layer(Extension(address)),
                            None => router,
                        };
                        match tls {
                            None => connection(stream, router, phases).await,
                            Some(tls) => {
                                if let Some(stream) = tls.accept(stream, &mut phases).await {
                                    connection(stream, router, phases).await;
                                }
                            }
                        }
                    }
                    Peer::Unix(stream) => connection(stream, router, phases).await,
                }
            }
        };
        acceptor.serve(phases.clone(), connection).await;
    }
}

async fn connection<S>(stream: S, router: Router, mut phases: Phases)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ended = match open_while_serving(stream, &mut phases).await {
        Ok((Protocol::Http1, stream)) => http1_connection(stream, router, phases).await,
        Ok((Protocol::Http2, stream)) => http2_connection(stream, router, phases).await,
        Err(error) => return tracing::debug!(%error, "connection closed"),
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

async fn http1_connection<S>(stream: Opened<S>, router: Router, mut phases: Phases) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    tokio::select! {
        // First, so that a request that has arrived is answered.
        biased;
        ended = connection.as_mut() => ended,
        () = phases.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn http2_connection<S>(stream: Opened<S>, router: Router, mut phases: Phases) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = pin!(http2_builder().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    tokio::select! {
        // First, so that a request that has arrived is answered.
        biased;
        ended = connection.as_mut() => ended,
        () = phases.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// The time for the headers of a request, and for which an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The buffer of one connection, and so the longest header block: as on the gRPC port, because `/json` answers checks too.
const HEADER_BYTES: usize = 128 << 10;

/// Headers of one request. The reference service bounds only their bytes; each has a few dozen.
const HEADERS: usize = 1_000;
