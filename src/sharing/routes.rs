//! Which node has which counters.

use std::sync::Arc;
use std::time::Duration;

use crate::engine_link::{Masters, Node, NodeAddress, SLOTS, StoreUrl, Topology};

/// The nodes that take writes, as they were last heard of.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Differs after each change.
    pub(super) number: u64,
    nodes: Vec<Arc<Node>>,
    /// Of a cluster: by slot the index of its node.
    slots: Option<Box<[u16]>>,
}

impl Routes {
    /// The node of an engine that is alone. Others have to be asked for theirs.
    pub(super) fn at_start(url: &StoreUrl, timeout: Duration) -> Self {
        let nodes = match &url.topology {
            Topology::Alone(node) => vec![Arc::new(Node::new(node.clone(), url.login.clone(), timeout))],
            Topology::Sentinels { .. } | Topology::Cluster(_) => Vec::new(),
        };
        Self { number: 1, nodes, slots: None }
    }

    /// The routes to these masters; `None`: they are the same as these. Nodes that are known stay the same.
    pub(super) fn changed(&self, masters: &Masters, url: &StoreUrl, timeout: Duration) -> Option<Self> {
        let slots = matches!(url.topology, Topology::Cluster(_)).then(|| slot_table(masters));
        let node = |address: &NodeAddress| {
            let known = self.nodes.iter().find(|node| node.address() == address);
            known.cloned().unwrap_or_else(|| Arc::new(Node::new(address.clone(), url.login.clone(), timeout)))
        };
        let nodes: Vec<_> = masters.nodes.iter().take(usize::from(SLOTS)).map(node).collect();
        let is_same = self.slots == slots
            && self.nodes.len() == nodes.len()
            && self.nodes.iter().zip(&nodes).all(|(before, after)| Arc::ptr_eq(before, after));
        (!is_same).then(|| Self { number: self.number + 1, nodes, slots })
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Whether there are nodes, and all of them are up.
    pub(super) fn are_up(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.iter().all(|node| node.is_up())
    }

    /// Whether it is a cluster, where a script has keys of one slot.
    pub(super) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// The index of the node that has the counters of a slot, which is found only in a cluster.
    pub(super) fn node_of(&self, slot: impl FnOnce() -> Option<u16>) -> Option<usize> {
        match &self.slots {
            None => (!self.nodes.is_empty()).then_some(0),
            Some(_) => self.node_of_slot(slot()?),
        }
    }

    /// The same for a known slot.
    pub(super) fn node_of_slot(&self, slot: u16) -> Option<usize> {
        match &self.slots {
            None => (!self.nodes.is_empty()).then_some(0),
            Some(slots) => {
                slots.get(usize::from(slot)).map(|node| usize::from(*node)).filter(|at| *at < self.nodes.len())
            }
        }
    }
}

fn slot_table(masters: &Masters) -> Box<[u16]> {
    let mut slots = vec![NO_NODE; usize::from(SLOTS)];
    for (first, last, node) in &masters.slots {
        let range = usize::from(*first)..=usize::from(*last);
        if let (Some(slots), Ok(node)) = (slots.get_mut(range), u16::try_from(*node)) {
            slots.fill(node);
        }
    }
    slots.into()
}

/// Of a slot that no node has.
const NO_NODE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_nodes_and_known_nodes_stay() {
        let url: StoreUrl = "redis+cluster://h:1".parse().unwrap();
        let node = |port| NodeAddress::Tcp(format!("h:{port}"));
        let routes = Routes::at_start(&url, Duration::ZERO);
        assert_eq!((routes.nodes().len(), routes.node_of_slot(0)), (0, None));
        let masters = Masters { nodes: vec![node(1), node(2)], slots: vec![(0, 99, 0), (101, 16_383, 1)] };
        let first = routes.changed(&masters, &url, Duration::ZERO).unwrap();
        let found: Vec<_> = [0, 99, 100, 101, 16_383].map(|slot| first.node_of_slot(slot)).into();
        assert_eq!(found, [Some(0), Some(0), None, Some(1), Some(1)]);
        assert!(first.changed(&masters, &url, Duration::ZERO).is_none());
        let moved = Masters { slots: vec![(0, 16_383, 1)], ..masters };
        let second = first.changed(&moved, &url, Duration::ZERO).unwrap();
        assert!(Arc::ptr_eq(&first.nodes()[1], &second.nodes()[1]) && second.number > first.number);
        assert_eq!(second.node_of_slot(0), Some(1));
    }
}
