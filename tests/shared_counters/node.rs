//! One node that fails in every way: what is reported, and when it is back.

use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;
use tidegate::engine::{Algorithm, CountDenied, Limit, Op};
use tidegate::engine_link::{
    ChargeRequest, CheckOutcome, How, KeyedCharge, Link, LinkError, Login, Node, NodeAddress, RequestForm, SharedCheck,
    SharedKey,
};
use tidegate::runtime::clock::Clock;
use tidegate::units::Nanos;

use crate::engines::{Engine, Kind};
use crate::equality::keys;
use crate::server::{DEADLINE, eventually_async};

struct Linked {
    node: Arc<Node>,
    link: Link,
    clock: Clock,
    keys: [SharedKey; 3],
}

impl Linked {
    async fn up(engine: &Engine, timeout: Duration) -> Self {
        let node = Arc::new(Node::new(NodeAddress::Tcp(engine.address()), Login::default(), timeout));
        let link = Link::new(Arc::clone(&node));
        let linked = Self { node, link, clock: Clock::start(), keys: keys(b"node") };
        linked.comes_up().await;
        linked
    }

    /// What the task of the process does that probes.
    async fn comes_up(&self) {
        eventually_async("the node is up", async || {
            let now = self.clock.now();
            if self.node.next_probe().is_some_and(|due| due <= now) {
                self.node.probe(|| self.clock.now(), u32::MAX / 2).await;
            }
            self.node.is_up()
        })
        .await;
    }

    /// Charges one hit of each of the counters, of a limit of 3 per hour each.
    async fn charge(&self, counters: &[usize]) -> Result<Vec<CheckOutcome>, LinkError> {
        let hour = Nanos::from_secs(3_600);
        let (algorithm, count_denied) = (Algorithm::SlidingWindow, CountDenied::Never);
        let limit = Limit { max: 3, window: hour, algorithm, ban: None, count_denied };
        let mut request = ChargeRequest::new(self.node.engine_time(self.clock.now()), RequestForm::default());
        for counter in counters {
            let charge = KeyedCharge { key: self.keys[*counter].clone(), limit, op: Op::Charge(1) };
            request.add(&SharedCheck { groups: smallvec![], charges: smallvec![charge], how: How::Script }).unwrap();
        }
        self.link.send(&Arc::new(request), || self.clock.now(), drop).await.checks.into_iter().collect()
    }

    async fn verdicts(&self, counters: &[usize]) -> Vec<bool> {
        self.charge(counters).await.unwrap().into_iter().map(|check| check.admitted).collect()
    }
}

#[tokio::test]
async fn a_killed_node_fails_at_once_and_comes_back_empty() {
    for kind in Kind::installed() {
        let mut engine = Engine::start(kind);
        let link = Linked::up(&engine, DEADLINE).await;
        assert_eq!(link.verdicts(&[0, 0, 0, 0]).await, [true, true, true, false], "{kind:?}");
        engine.kill();
        // The first request may find the connection closed, or lose it.
        link.charge(&[0]).await.unwrap_err();
        assert!(!link.node.is_up(), "{kind:?}");
        assert!(matches!(link.charge(&[0]).await, Err(LinkError::Down)), "{kind:?}");
        engine.restart_empty();
        link.comes_up().await;
        assert_eq!(link.verdicts(&[0]).await, [true], "{kind:?}");
    }
}

#[tokio::test]
async fn a_paused_node_times_out_and_late_charges_stay_charged() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Linked::up(&engine, Duration::from_millis(100)).await;
        assert_eq!(link.verdicts(&[0]).await, [true], "{kind:?}: the script is known from now on");
        engine.pause();
        // 100 ms without any reply: the breaker opens.
        assert_eq!(link.charge(&[1]).await.unwrap_err(), LinkError::Timeout, "{kind:?}");
        assert!(!link.node.is_up(), "{kind:?}");
        engine.resume();
        link.comes_up().await;
        assert_eq!(link.verdicts(&[1, 1, 1]).await, [true, true, false], "{kind:?}: the late charge stays charged");
    }
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Linked::up(&engine, DEADLINE).await;
        assert_eq!(link.verdicts(&[0]).await, [true], "{kind:?}");
        engine.run::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(link.verdicts(&[0, 0, 0]).await, [true, true, false], "{kind:?}");
    }
}

#[tokio::test]
async fn a_foreign_value_fails_its_counter_and_not_the_batch() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Linked::up(&engine, DEADLINE).await;
        for set in [["SET", link.keys[1].as_str(), "hello"], ["LPUSH", link.keys[2].as_str(), "x"]] {
            engine.run::<()>(&set);
        }
        let checks = link.charge(&[0, 1, 2, 0]).await.unwrap();
        let known: Vec<_> = checks.iter().map(|check| check.counters[0].is_some()).collect();
        assert_eq!(known, [true, false, false, true], "{kind:?}");
        assert!(checks[0].admitted && checks[3].admitted, "{kind:?}");
        assert_eq!(engine.run::<String>(&["GET", link.keys[1].as_str()]), "hello", "{kind:?}");
        let reply = engine.run::<i64>(&["PTTL", link.keys[0].as_str()]);
        assert!((3_600_000..=7_202_000).contains(&reply), "{kind:?}: a key expires: {reply}");
    }
}

#[tokio::test]
async fn an_engine_without_memory_opens_the_breaker() {
    for kind in Kind::installed() {
        let engine = Engine::start(kind);
        let link = Linked::up(&engine, DEADLINE).await;
        engine.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let error = link.charge(&[0]).await.unwrap_err();
        assert!(matches!(&error, LinkError::Rejected { code, .. } if code == "OOM"), "{kind:?}: {error}");
        assert!(!link.node.is_up(), "{kind:?}");
    }
}
