//! Finds the nodes that take writes: by the sentinels, or by the slot table of a cluster.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::Value;
use tokio::time::timeout;

use super::connection::{Connection, Login, NodeAddress};
use super::error::LinkError;
use super::slot::SLOTS;
use super::url::{StoreUrl, Topology};

/// The nodes that take writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masters {
    /// Where they listen.
    pub nodes: Vec<NodeAddress>,
    /// Of a cluster: the first and the last slot of a range, and the index of its node.
    pub slots: Vec<(u16, u16, usize)>,
}

/// The masters of an engine: one, or those of a cluster. Asks the named nodes and the `known` ones of a cluster, the next one when a node has
/// no answer at once, each for at most `within` twice: to connect, and for the answer.
///
/// # Errors
/// The error of the last one, if none of them answers.
pub async fn masters(url: &StoreUrl, known: &[NodeAddress], within: Duration) -> Result<Masters, LinkError> {
    match &url.topology {
        Topology::Alone(node) => Ok(Masters::one(node.clone())),
        Topology::Sentinels { sentinels, master } => {
            // Sentinels have users of their own; those of the URL are of the engine.
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
            first_answer(sentinels, &url.login.anonymous(), &command, within, named_master).await
        }
        Topology::Cluster(nodes) => {
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            let named = nodes.iter().filter(|node| !known.contains(node));
            let nodes: Vec<_> = known.iter().chain(named).cloned().collect();
            first_answer(&nodes, &url.login, &command, within, masters_of_slots).await
        }
    }
}

impl Masters {
    fn one(node: NodeAddress) -> Self {
        Self { nodes: vec![node], slots: Vec::new() }
    }
}

/// The first usable answer. A node that takes its time does not keep the next one from being asked: it may be on a host that is gone.
async fn first_answer(
    nodes: &[NodeAddress],
    login: &Login,
    command: &redis::Cmd,
    within: Duration,
    read: impl Fn(Value, &NodeAddress) -> Option<Masters>,
) -> Result<Masters, LinkError> {
    let ask = async |node| {
        let asked = async { Connection::open(node, login, within).await?.ask(command.clone(), within).await };
        match asked.await.map(|answer| read(answer, node)) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(LinkError::Unreachable(format!("{node} knows of no master"))),
            Err(error) => Err(error),
        }
    };
    let (mut last, mut nodes) = (LinkError::Malformed, nodes.iter());
    let mut asked = FuturesUnordered::new();
    loop {
        let next = nodes.next();
        let is_last = next.is_none();
        asked.extend(next.map(&ask));
        match timeout(if is_last { within * 2 } else { HEAD_START }, asked.next()).await {
            Ok(Some(Ok(found))) => return Ok(found),
            Ok(Some(Err(error))) => last = error,
            Ok(None) | Err(_) if is_last => return Err(last),
            Ok(None) | Err(_) => {}
        }
    }
}

fn named_master(answer: Value, _: &NodeAddress) -> Option<Masters> {
    let (host, port): (String, u16) = redis::from_redis_value(answer).ok()?;
    Some(Masters::one(tcp(&host, port)))
}

/// The answer has a line for each range of slots: its ends, then the master and the replicas with host, port and more.
fn masters_of_slots(answer: Value, asked: &NodeAddress) -> Option<Masters> {
    let Value::Array(ranges) = answer else { return None };
    let mut masters = Masters::default();
    for range in ranges.iter().take(usize::from(SLOTS)) {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = &range[..] else { return None };
        let host: Option<String> = redis::from_redis_value(node.first()?.clone()).ok()?;
        let port: u16 = redis::from_redis_value(node.get(1)?.clone()).ok()?;
        // A node that does not know its own host leaves it out: it is the one that was asked.
        let host = host.filter(|host| !host.is_empty()).or_else(|| host_of(asked))?;
        let node = tcp(&host, port);
        let known = masters.nodes.iter().position(|known| *known == node).unwrap_or(masters.nodes.len());
        if known == masters.nodes.len() {
            masters.nodes.push(node);
        }
        masters.slots.push((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, known));
    }
    (!masters.nodes.is_empty()).then_some(masters)
}

fn host_of(node: &NodeAddress) -> Option<String> {
    let NodeAddress::Tcp(address) = node else { return None };
    address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
}

fn tcp(host: &str, port: u16) -> NodeAddress {
    NodeAddress::Tcp(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// After what time without an answer the next node is asked, too: of nodes that are gone, ten a second are tried.
const HEAD_START: Duration = Duration::from_millis(100);
