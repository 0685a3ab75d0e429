//! A current-thread runtime with a listener of its own for each core, and the plain service on hyper's connection.

use std::convert::Infallible;
use std::net::TcpListener;
use std::thread;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};

use super::service::NoOp;

/// Serves every connection with `serve`, on the thread that accepted it, for ever.
pub(super) fn run<F>(listeners: Vec<TcpListener>, serve: fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    thread::scope(|scope| {
        for listener in listeners {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                });
            });
        }
    });
}

/// Serves one connection with hyper.
pub(super) async fn hyper(stream: TcpStream) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(4_096)
        .initial_stream_window_size(super::WINDOW_BYTES)
        .initial_connection_window_size(super::WINDOW_BYTES);
    let _closed = builder.serve_connection(TokioIo::new(stream), NoOp).await;
}

impl hyper::service::Service<Request<Incoming>> for NoOp {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut service = *self;
        Service::call(&mut service, request)
    }
}
