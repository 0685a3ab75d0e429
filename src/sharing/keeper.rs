//! The one task of the process that finds the nodes, probes those that are down, and looks after those that are up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::SharedStore;
use super::asker::Asker;
use super::replicas::Heartbeat;
use super::tending::tend;
use crate::engine_link::{Facts, Masters, Node, NodeAddress, SharedCheck, Topology, masters};
use crate::runtime::lifecycle::Phases;
use crate::units::{Nanos, Timestamp};

/// What the process does with what its task hears. Called by that task: it must not block.
pub trait Hearing: Send {
    /// There are so many replicas, and the engine's clock is so many nanoseconds ahead of ours. Called after each round.
    fn heard(&self, replicas: u32, clock_offset_ns: i64);

    /// What was spent of one counter.
    type Spent: Send + 'static;

    /// A node is up that was down. Returns charges of what was spent meanwhile, which are made whatever is left of the limits. What
    /// becomes of them is reported to [`is_charged`](Self::is_charged) and [`may_be_charged`](Self::may_be_charged); what is not
    /// charged is asked for again.
    fn spent(&self, engine_now: Timestamp) -> Vec<(SharedCheck, Self::Spent)>;

    /// The engine has it.
    fn is_charged(&self, spent: Self::Spent, engine_now: Timestamp);

    /// The engine may have it: there is no answer. It is never charged again.
    fn may_be_charged(&self, spent: Self::Spent, engine_now: Timestamp);
}

/// Looks after the engine until the process closes.
pub async fn keep(store: Arc<SharedStore>, mut phases: Phases, hearing: impl Hearing) {
    let asker = Asker::new(Arc::clone(&store));
    let mut keeper = Keeper::new(Arc::clone(&store), hearing, Arc::clone(&asker));
    tokio::select! {
        () = keeper.run() => {}
        () = tend(store, asker) => {}
        () = phases.closing() => {}
    }
}

struct Keeper<H: Hearing> {
    store: Arc<SharedStore>,
    hearing: H,
    /// Asks for what was spent.
    asker: Arc<Asker>,
    /// Charges of what was spent, one at a time.
    charging: JoinSet<SpentHits<H::Spent>>,
    /// Something that was spent is not charged.
    is_owed: bool,
    nodes: Vec<Kept>,
    /// The probes under way, each of its node. One that is not answered keeps nothing else waiting.
    probes: JoinSet<Arc<Node>>,
    heartbeat: Heartbeat,
    /// When the topology was last read, or that was tried.
    read_at: Timestamp,
    is_warned: bool,
}

/// What is known of a node, besides what it knows itself.
struct Kept {
    node: Arc<Node>,
    was_up: bool,
    is_probed: bool,
    probed_at: Timestamp,
    /// The last report, and its time.
    facts: Option<(Timestamp, Facts)>,
}

impl<H: Hearing> Keeper<H> {
    fn new(store: Arc<SharedStore>, hearing: H, asker: Arc<Asker>) -> Self {
        let heartbeat = Heartbeat::new(&store);
        let (nodes, probes, charging) = (Vec::new(), JoinSet::new(), JoinSet::new());
        let read_at = Timestamp::EPOCH;
        Self { store, hearing, asker, charging, is_owed: false, nodes, probes, heartbeat, read_at, is_warned: false }
    }

    async fn run(&mut self) {
        loop {
            self.read_topology().await;
            self.probe();
            self.report().await;
            self.heartbeat.beat(&self.store).await;
            self.hearing.heard(self.store.counts.replicas(), self.store.clock_offset_ns());
            let step = if self.store.is_up() { STEP } else { STEP_WHEN_DOWN };
            let (mut refresh, may_read) = (self.store.refresh.subscribe(), self.may_read());
            tokio::select! {
                () = sleep(step) => {}
                Some(probed) = self.probes.join_next() => self.probed(probed.ok().as_ref()),
                Some(charged) = self.charging.join_next() => self.charged(charged.unwrap_or_default()),
                // The sender is in the store, which lives.
                _ = refresh.wait_for(|refresh| refresh.is_wanted), if may_read => {}
            }
        }
    }

    /// Whether the topology has not been read for a moment: however many ask, it is read ten times a second.
    fn may_read(&self) -> bool {
        self.store.clock.now().since(self.read_at) >= READ_PAUSE
    }

    /// Reads the topology if it is wanted, a node is down, or it is old.
    async fn read_topology(&mut self) {
        let is_wanted = self.store.refresh.borrow().is_wanted;
        let is_old = self.store.clock.now().since(self.read_at) >= Nanos::from(TOPOLOGY_AGE);
        let routes = self.store.routes.load_full();
        if !(is_wanted || is_old || !routes.are_up()) || !self.may_read() {
            return;
        }
        self.read_at = self.store.clock.now();
        let settings = &self.store.settings;
        if !matches!(settings.url.topology, Topology::Alone(_)) {
            let up = routes.nodes().iter().filter(|node| node.is_up());
            let known: Vec<NodeAddress> = up.map(|node| node.address().clone()).collect();
            match masters(&settings.url, &known, ASKING).await {
                Ok(masters) => self.follow(&masters),
                Err(error) if routes.nodes().is_empty() && !std::mem::replace(&mut self.is_warned, true) => {
                    let url = &settings.url;
                    tracing::warn!(%url, %error, "the store cannot be found: checks are answered by --store-when-down");
                }
                Err(_) => {}
            }
        }
        self.store.refresh.send_modify(|refresh| {
            refresh.is_wanted = false;
            refresh.read += 1;
        });
    }

    fn follow(&self, masters: &Masters) {
        let settings = &self.store.settings;
        if let Some(changed) = self.store.routes.load().changed(masters, &settings.url, settings.timeout) {
            let nodes: Vec<_> = changed.nodes().iter().map(|node| node.address().to_string()).collect();
            tracing::info!(nodes = nodes.join(" "), "the nodes of the store");
            self.store.routes.store(Arc::new(changed));
        }
    }

    /// Probes nodes that are down when that is due, and those that are up now and then.
    fn probe(&mut self) {
        self.keep_nodes();
        let now = self.store.clock.now();
        for kept in self.nodes.iter_mut().filter(|kept| !kept.is_probed) {
            let is_due = match kept.node.next_probe() {
                Some(due) => due <= now,
                None => now.since(kept.probed_at) >= PROBE_AGE,
            };
            if is_due {
                (kept.is_probed, kept.probed_at) = (true, now);
                let (node, clock) = (Arc::clone(&kept.node), Arc::clone(&self.store.clock));
                self.probes.spawn(async move {
                    node.probe(|| clock.now(), chance()).await;
                    node
                });
            }
        }
    }

    /// A probe has ended.
    fn probed(&mut self, node: Option<&Arc<Node>>) {
        let Some(node) = node else { return };
        let Some(kept) = self.nodes.iter_mut().find(|kept| Arc::ptr_eq(&kept.node, node)) else { return };
        kept.is_probed = false;
        let was_up = std::mem::replace(&mut kept.was_up, node.is_up());
        if kept.was_up && !was_up {
            // Its report is due at once.
            if let Some((at, _)) = &mut kept.facts {
                *at = Timestamp::EPOCH;
            }
            self.store.has_connected.store(true, Ordering::Relaxed);
            self.is_owed = true;
        }
        if node.is_up() && self.is_owed && self.charging.is_empty() {
            self.is_owed = false;
            let spent = self.hearing.spent(self.store.engine_time(self.store.clock.now()));
            if !spent.is_empty() {
                self.charging.spawn(charge_spent(Arc::clone(&self.asker), spent));
            }
        }
    }

    /// What was spent is charged, or some of it.
    fn charged(&mut self, SpentHits { charged, unknown, failed }: SpentHits<H::Spent>) {
        let engine_now = self.store.engine_time(self.store.clock.now());
        self.is_owed |= failed > 0;
        if !charged.is_empty() || !unknown.is_empty() {
            let (charged, unknown) = (charged.len(), unknown.len());
            tracing::info!(
                charged,
                unknown,
                later = failed,
                "counters are charged with what was spent while the store was down"
            );
        }
        for spent in charged {
            self.hearing.is_charged(spent, engine_now);
        }
        for spent in unknown {
            self.hearing.may_be_charged(spent, engine_now);
        }
    }

    /// Has what is known of the nodes of the present routes.
    fn keep_nodes(&mut self) {
        let routes = self.store.routes.load();
        if routes.nodes().len() == self.nodes.len()
            && routes.nodes().iter().zip(&self.nodes).all(|(node, kept)| Arc::ptr_eq(node, &kept.node))
        {
            return;
        }
        let is_cluster = routes.is_cluster();
        let mut before = std::mem::take(&mut self.nodes);
        // Behind sentinels another master takes the place of the one before, and may know less.
        let facts_before = before.first().and_then(|kept| kept.facts.clone()).filter(|_| !is_cluster);
        let kept = |node: &Arc<Node>| match before.iter().position(|kept| Arc::ptr_eq(&kept.node, node)) {
            Some(known) => before.swap_remove(known),
            None => Kept {
                node: Arc::clone(node),
                was_up: false,
                is_probed: false,
                probed_at: Timestamp::EPOCH,
                facts: facts_before.clone(),
            },
        };
        self.nodes = routes.nodes().iter().map(kept).collect();
    }

    /// Asks nodes for their reports when that is due, and says what they mean.
    async fn report(&mut self) {
        let (store, now) = (&self.store, self.store.clock.now());
        for Kept { node, facts, was_up, .. } in &mut self.nodes {
            let is_due = facts.as_ref().is_none_or(|(at, _)| now.since(*at) >= Nanos::from(FACTS_AGE));
            if !*was_up || !is_due {
                continue;
            }
            let Ok(reported) = node.facts().await else { continue };
            if let Some((_, before)) = facts
                && reported.has_lost_state_since(before)
            {
                store.counts.state_lost.fetch_add(1, Ordering::Relaxed);
                let node = node.address();
                tracing::warn!(%node, "the store may have lost writes: a limit may admit as much once more as was admitted since");
            }
            *facts = Some((now, reported));
        }
        let known = || self.nodes.iter().filter_map(|kept| Some((&kept.node, &kept.facts.as_ref()?.1)));
        let evicted = known().map(|(_, facts)| facts.evicted_keys).sum();
        store.counts.evicted.store(evicted, Ordering::Relaxed);
        let evicting = known().find(|(_, facts)| facts.may_evict());
        let before = store.counts.may_evict.swap(evicting.is_some(), Ordering::Relaxed);
        if let Some((node, facts)) = evicting.filter(|_| !before) {
            let (node, policy, evicted) = (node.address(), &facts.maxmemory_policy, facts.evicted_keys);
            tracing::warn!(
                %node, policy, evicted,
                "the store may drop counters, and then more is admitted than a limit: set maxmemory-policy noeviction"
            );
        }
    }
}

/// What became of charges of what was spent.
struct SpentHits<S> {
    charged: Vec<S>,
    /// There is no answer.
    unknown: Vec<S>,
    /// How many were certainly not executed.
    failed: usize,
}

impl<S> Default for SpentHits<S> {
    fn default() -> Self {
        Self { charged: Vec::new(), unknown: Vec::new(), failed: 0 }
    }
}

/// Charges what was spent, some at a time. Nothing is sent twice that may have been executed.
async fn charge_spent<S>(asker: Arc<Asker>, spent: Vec<(SharedCheck, S)>) -> SpentHits<S> {
    let mut result = SpentHits::default();
    let mut spent = spent.into_iter().peekable();
    while spent.peek().is_some() {
        let (checks, part): (Vec<_>, Vec<_>) = spent.by_ref().take(SPENT_AT_ONCE).unzip();
        for (outcome, spent) in asker.ask_all(checks).await.into_iter().zip(part) {
            match outcome {
                Ok(_) => result.charged.push(spent),
                Err(error) if error.was_not_executed() => result.failed += 1,
                Err(_) => result.unknown.push(spent),
            }
        }
    }
    result
}

/// An evenly distributed number, for jitter.
fn chance() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

/// Between two rounds: a node that has gone is first probed after that time.
const STEP: Duration = Duration::from_millis(100);
/// The same while a node is down, so that its probes are on time.
const STEP_WHEN_DOWN: Duration = Duration::from_millis(20);
/// Between two attempts to read the topology, however many ask for it.
const READ_PAUSE: Nanos = Nanos::from_ns(100_000_000);
/// Counters whose hits of an outage are charged at the same time: two requests.
const SPENT_AT_ONCE: usize = 512;
/// For the answer of one node or sentinel about the topology.
const ASKING: Duration = Duration::from_millis(500);
/// The topology of an engine that is up is read that often, because sentinels may name another master while the one before still answers.
const TOPOLOGY_AGE: Duration = Duration::from_secs(1);
/// A node that is up is probed that often: it tells the time, and whether it is still there.
const PROBE_AGE: Nanos = Nanos::from_secs(1);
/// A node that is up reports of itself that often.
const FACTS_AGE: Duration = Duration::from_secs(10);
