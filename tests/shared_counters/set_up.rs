//! The engines themselves: what other tests rely on.

use crate::engines::{Cluster, Engine, Kind, Sentinels};
use crate::server::eventually;

#[test]
fn an_engine_is_paused_killed_and_restarted_empty() {
    for kind in Kind::installed() {
        let mut engine = Engine::start(kind);
        engine.run::<()>(&["SET", "key", "value"]);
        assert_eq!(engine.run::<String>(&["GET", "key"]), "value", "{kind:?}");
        engine.pause();
        engine.resume();
        engine.restart_empty();
        assert_eq!(engine.run::<Option<String>>(&["GET", "key"]), None, "{kind:?}");
        engine.kill();
        assert!(engine.try_run::<()>(&["PING"]).is_err(), "{kind:?}");
    }
}

#[test]
fn sentinels_name_the_replica_when_the_master_is_gone() {
    for kind in Kind::installed() {
        let mut set = Sentinels::start(kind);
        set.master.kill();
        let new = set.replica.port.to_string();
        eventually("a new master", || {
            let named: Vec<String> = set.watchers[0].run(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "counters"]);
            named[1] == new
        });
    }
}

#[test]
fn a_cluster_serves_every_slot() {
    for kind in Kind::installed() {
        let cluster = Cluster::start(kind);
        for (node, keys) in cluster.nodes.iter().zip(["{b}", "{c}", "{a}"]) {
            // Slots 3300, 7365 and 15495.
            assert_eq!(node.run::<u64>(&["INCR", keys]), 1, "{kind:?}");
        }
    }
}
