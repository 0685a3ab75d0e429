//! Finds the nodes that take writes: by the sentinels, or by the slot table of a cluster.

use std::time::Duration;

use redis::Value;

use super::connection::{Connection, Login, NodeAddress};
use super::error::LinkError;
use super::url::{StoreUrl, Topology};

/// The masters of an engine: one, or those of a cluster. Asks the named nodes one after the other, each for at most `within`.
///
/// # Errors
/// The error of the last one, if none of them answers.
pub async fn masters(url: &StoreUrl, within: Duration) -> Result<Vec<NodeAddress>, LinkError> {
    match &url.topology {
        Topology::Alone(node) => Ok(vec![node.clone()]),
        Topology::Sentinels { sentinels, master } => {
            // Sentinels have users of their own; those of the URL are of the engine.
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
            first_answer(sentinels, &Login::default(), &command, within, named_master).await
        }
        Topology::Cluster(nodes) => {
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            let mut masters = first_answer(nodes, &url.login, &command, within, masters_of_slots).await?;
            masters.sort_unstable_by_key(ToString::to_string);
            masters.dedup();
            Ok(masters)
        }
    }
}

async fn first_answer(
    nodes: &[NodeAddress],
    login: &Login,
    command: &redis::Cmd,
    within: Duration,
    read: impl Fn(Value, &NodeAddress) -> Option<Vec<NodeAddress>>,
) -> Result<Vec<NodeAddress>, LinkError> {
    let mut last = LinkError::Malformed;
    for node in nodes {
        let asked = async { Connection::open(node, login, within).await?.ask(command.clone(), within).await };
        match asked.await.map(|answer| read(answer, node)) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => last = LinkError::Unreachable(format!("{node} knows of no master")),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn named_master(answer: Value, _: &NodeAddress) -> Option<Vec<NodeAddress>> {
    let (host, port): (String, u16) = redis::from_redis_value(answer).ok()?;
    Some(vec![tcp(&host, port)])
}

/// The answer has a line for each range of slots: its ends, then the master and the replicas with host, port and more.
fn masters_of_slots(answer: Value, asked: &NodeAddress) -> Option<Vec<NodeAddress>> {
    let Value::Array(ranges) = answer else { return None };
    let master = |range: &Value| {
        let Value::Array(range) = range else { return None };
        let Value::Array(node) = range.get(2)? else { return None };
        let host: Option<String> = redis::from_redis_value(node.first()?.clone()).ok()?;
        let port: u16 = redis::from_redis_value(node.get(1)?.clone()).ok()?;
        // A node that does not know its own host leaves it out: it is the one that was asked.
        let host = host.filter(|host| !host.is_empty()).or_else(|| host_of(asked))?;
        Some(tcp(&host, port))
    };
    let masters: Vec<_> = ranges.iter().filter_map(master).collect();
    (!masters.is_empty() && masters.len() == ranges.len()).then_some(masters)
}

fn host_of(node: &NodeAddress) -> Option<String> {
    let NodeAddress::Tcp(address) = node else { return None };
    address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
}

fn tcp(host: &str, port: u16) -> NodeAddress {
    NodeAddress::Tcp(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
