//! Checks that arrive together over one connection, and wait for the store together.

use std::time::Duration;

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::engines::{Engine, Kind};
use crate::replicas::{ALGORITHMS, ask, replica};
use crate::server::{Stopwatch, TestServer};

/// Sends so many checks of one value at the same time. Returns how many were admitted; each has an answer.
async fn at_once(channel: &Channel, key: &'static str, checks: usize) -> usize {
    let mut tasks = JoinSet::new();
    for _ in 0..checks {
        let channel = channel.clone();
        tasks.spawn(async move { ask(&channel, &[(key, "x")]).await.overall_code() });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.len(), checks);
    answers.into_iter().filter(|code| *code == Code::Ok).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_of_one_read_share_requests_and_each_has_its_own_answer() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let config = format!(
            "{ALGORITHMS}- {{key: leased, rate_limit: {{unit: year, requests_per_unit: 25, sharing: leased}}}}\n"
        );
        for front in ["h2", "lean"] {
            engine.run::<()>(&["FLUSHALL"]);
            let server = replica(&config, &engine.url(), &["--workers", "1", "--http2", front]);
            let channel = server.channel().await;
            for key in ["plain", "sliding", "log", "bucket", "several", "leased"] {
                assert_eq!(at_once(&channel, key, 64).await, 25, "{kind:?}, {front}: {key}");
            }
            let node = engine.address();
            let requests = server.metric(&format!("tidegate_store_requests_total{{node=\"{node}\",kind=\"charge\"}}"));
            assert!(requests > 0 && requests < 5 * 64, "{kind:?}, {front}: {requests} requests");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_that_wait_together_are_answered_when_the_time_is_over() {
    let Some(kind) = Kind::any() else { return };
    for front in ["h2", "lean"] {
        let engine = Engine::start(kind);
        let store = ["--store", &engine.url(), "--store-timeout", "200ms"];
        let server = TestServer::start(ALGORITHMS, &[&store[..], &["--workers", "1", "--http2", front]].concat());
        server.log_until("the store answers");
        let channel = server.channel().await;
        assert!(at_once(&channel, "plain", 8).await <= 8);
        engine.pause();
        let stopwatch = Stopwatch::start();
        // Divided by the one replica that there is: the rest of the limit.
        let admitted = at_once(&channel, "plain", 64).await;
        assert!(stopwatch.elapsed() < DEADLINE, "{front}: {:?}", stopwatch.elapsed());
        assert!(admitted <= 25, "{front}: {admitted}");
        engine.resume();
    }
}

/// For what takes a fifth of a second.
const DEADLINE: Duration = Duration::from_secs(20);
