//! Observers while checks are answered: streams of usage, and scrapes of the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::contender::Server;
use crate::cores;

/// Overhead of observers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watchers {
    /// Observers of everything, each on a connection of its own, with the defaults: a report every second.
    pub(crate) observers: usize,
    /// Scrapes of the metrics, one a second.
    pub(crate) scrapes: bool,
}

impl Watchers {
    /// Measures with observers, after each has received something.
    pub(crate) fn during<T>(self, server: &Server, measure: impl FnOnce() -> T) -> T {
        let (stop, begun, scraped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            let (stop, begun, scraped) = (&stop, &begun, &scraped);
            if self.observers > 0 {
                scope.spawn(move || observe(&server.admin, self.observers, stop, begun));
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
            for _ in 0..TIMEOUT_STEPS {
                if self.see(begun, scraped) {
                    break;
                }
                thread::sleep(STEP);
            }
            let all_see = self.see(begun, scraped);
            let measured = all_see.then(measure);
            stop.store(true, Ordering::Relaxed);
            measured.unwrap_or_else(|| panic!("an observer has got no report, or no scrape was answered"))
        })
    }

    /// Whether each has received something.
    fn see(self, begun: &AtomicU64, scraped: &AtomicU64) -> bool {
        begun.load(Ordering::Relaxed) == self.observers as u64 && (!self.scrapes || scraped.load(Ordering::Relaxed) > 0)
    }
}

/// Observes until it is stopped. Reports are not decoded, because the cost would slow down the generator.
fn observe(admin: &str, observers: usize, stop: &AtomicBool, begun: &AtomicU64) {
    cores::stay_on(GENERATOR);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (first, mut firsts) = tokio::sync::mpsc::channel(observers);
        for _ in 0..observers {
            tokio::spawn(observer(admin.to_owned(), first.clone()));
        }
        while !stop.load(Ordering::Relaxed) {
            if let Ok(Some(())) = tokio::time::timeout(STEP, firsts.recv()).await {
                begun.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
}

async fn observer(admin: String, first: tokio::sync::mpsc::Sender<()>) {
    let stream = tokio::net::TcpStream::connect(&admin).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{admin}/tidegate.v1.UsageService/WatchUsage"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // An empty message, with all defaults.
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let (mut reports, mut seen) = (answer.await.unwrap().into_body(), false);
    while let Some(Ok(data)) = reports.data().await {
        reports.flow_control().release_capacity(data.len()).unwrap();
        if !std::mem::replace(&mut seen, true) {
            first.send(()).await.unwrap();
        }
    }
}

fn rest(mut length: Duration, stop: &AtomicBool) {
    while !length.is_zero() && !stop.load(Ordering::Relaxed) {
        thread::sleep(STEP.min(length));
        length = length.saturating_sub(STEP);
    }
}

/// Observers run on the generator's core, so that their cost is not counted as the server's.
const GENERATOR: [usize; 1] = [1];
/// Steps until an observer without data is a failure: a minute.
const TIMEOUT_STEPS: u32 = 3_000;
/// The time between two checks for the stop.
const STEP: Duration = Duration::from_millis(20);
