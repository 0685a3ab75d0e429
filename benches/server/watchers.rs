//! Those who look on while checks are answered: observers' streams, and scrapes of the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::contender::Server;
use crate::cores;

/// Who looks on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watchers {
    /// Observers of everything, each on a connection of its own, with the defaults: a report every second.
    pub(crate) observers: usize,
    /// Scrapes of the metrics, one a second.
    pub(crate) scrapes: bool,
}

impl Watchers {
    /// Measures while they look on.
    pub(crate) fn during<T>(self, server: &Server, measure: impl FnOnce() -> T) -> T {
        let (stop, bytes, scraped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let measured = thread::scope(|scope| {
            let (stop, bytes, scraped) = (&stop, &bytes, &scraped);
            if self.observers > 0 {
                scope.spawn(move || observe(&server.admin, self.observers, stop, bytes));
            }
            if self.scrapes {
                scope.spawn(move || {
                    cores::stay_on(GENERATOR);
                    while !stop.load(Ordering::Relaxed) {
                        scraped.fetch_add(server.metrics().len() as u64, Ordering::Relaxed);
                        rest(Duration::from_secs(1), stop);
                    }
                });
            }
            let measured = measure();
            stop.store(true, Ordering::Relaxed);
            measured
        });
        let seen = [bytes, scraped].map(AtomicU64::into_inner);
        assert!(self.observers == 0 || seen[0] > 0, "no observer has got a report");
        assert!(!self.scrapes || seen[1] > 0, "no scrape was answered");
        measured
    }
}

/// Observes until it is to stop. Reports are counted and not decoded: what that costs would be the generator's loss.
fn observe(admin: &str, observers: usize, stop: &AtomicBool, bytes: &AtomicU64) {
    cores::stay_on(GENERATOR);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (admin, (counted, mut count)) = (admin.to_owned(), tokio::sync::mpsc::channel(1_024));
        for _ in 0..observers {
            tokio::spawn(observer(admin.clone(), counted.clone()));
        }
        while !stop.load(Ordering::Relaxed) {
            if let Ok(Some(more)) = tokio::time::timeout(STEP, count.recv()).await {
                bytes.fetch_add(more, Ordering::Relaxed);
            }
        }
    });
}

async fn observer(admin: String, counted: tokio::sync::mpsc::Sender<u64>) {
    let stream = tokio::net::TcpStream::connect(&admin).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{admin}/tidegate.v1.UsageService/WatchUsage"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // A message of no bytes, everything by default.
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let mut reports = answer.await.unwrap().into_body();
    while let Some(Ok(data)) = reports.data().await {
        reports.flow_control().release_capacity(data.len()).unwrap();
        counted.send(data.len() as u64).await.unwrap();
    }
}

fn rest(mut length: Duration, stop: &AtomicBool) {
    while !length.is_zero() && !stop.load(Ordering::Relaxed) {
        thread::sleep(STEP.min(length));
        length = length.saturating_sub(STEP);
    }
}

/// They look on from the generator's core: what they do with what they see is not the server's.
const GENERATOR: [usize; 1] = [1];
/// How soon they notice that they are to stop.
const STEP: Duration = Duration::from_millis(20);
