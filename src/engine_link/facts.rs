//! What a node reports of itself (INFO), without the right to CONFIG.

/// Facts about one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `redis` or `valkey`.
    pub server: String,
    /// Its version.
    pub version: String,
    /// What it drops when its memory is full; `noeviction` is the one that keeps counters.
    pub maxmemory_policy: String,
    /// The bound on its memory, in bytes; 0: none.
    pub maxmemory: u64,
    /// Keys that it dropped for memory since it started.
    pub evicted_keys: u64,
    /// Differs after each restart.
    pub run_id: String,
    /// How much it has replicated. One that is smaller than before, or another run: writes were lost.
    pub replication_offset: u64,
    /// Whether it is a master.
    pub is_master: bool,
    /// Whether it is a node of a cluster.
    pub is_cluster: bool,
}

/// The rights that a user needs, by ACL, besides those to the keys.
pub const RIGHTS: &str = "+evalsha +eval +script|load +get +set +incrby +pexpireat +rpush +rpop +lpop +lindex +llen +zadd \
    +zcard +zremrangebyscore +time +ping +hello +auth +info +role +client|setname +cluster|slots +cluster|shards +select";

impl Facts {
    /// Reads the text of INFO. What is missing is empty or 0.
    pub fn read(info: &str) -> Self {
        let fact = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let text = |name: &str| fact(name).unwrap_or_default().trim().to_owned();
        let number = |name: &str| text(name).parse().unwrap_or(0);
        let valkey = text("valkey_version");
        let is_valkey = !valkey.is_empty();
        Self {
            server: if is_valkey { "valkey" } else { "redis" }.to_owned(),
            version: if is_valkey { valkey } else { text("redis_version") },
            maxmemory_policy: text("maxmemory_policy"),
            maxmemory: number("maxmemory"),
            evicted_keys: number("evicted_keys"),
            run_id: text("run_id"),
            replication_offset: number("master_repl_offset"),
            is_master: text("role") != "slave",
            is_cluster: text("redis_mode") == "cluster" || text("server_mode") == "cluster",
        }
    }

    /// Whether it may forget counters before they end.
    pub fn may_evict(&self) -> bool {
        self.evicted_keys > 0 || !self.maxmemory_policy.is_empty() && self.maxmemory_policy != "noeviction"
    }

    /// Whether writes may have been lost since `before`: a restart, or another master that has replicated less.
    pub fn has_lost_state_since(&self, before: &Self) -> bool {
        self.run_id != before.run_id && self.replication_offset <= before.replication_offset
            || self.replication_offset < before.replication_offset
    }

    /// Whether this version is supported: Redis 7.0, Valkey 8 and later.
    pub fn is_supported(&self) -> bool {
        let major: u32 = self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        major >= if self.server == "valkey" { 8 } else { 7 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read() {
        let facts = Facts::read(
            "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.8\r\nrun_id:abc\r\nmaxmemory:0\r\n\
             maxmemory_policy:allkeys-lru\r\nevicted_keys:3\r\nrole:master\r\nmaster_repl_offset:70\r\nserver_mode:cluster\r\n",
        );
        assert_eq!((facts.server.as_str(), facts.version.as_str(), facts.run_id.as_str()), ("valkey", "8.1.8", "abc"));
        assert!(facts.may_evict() && facts.is_master && facts.is_cluster && facts.is_supported());
        assert_eq!((facts.evicted_keys, facts.replication_offset), (3, 70));
        assert!(
            !Facts::read("valkey_version:7.2.1").is_supported() && !Facts::read("redis_version:6.2.0").is_supported()
        );
        assert!(Facts::read("redis_version:7.0.15").is_supported() && !Facts::read("").is_supported());
    }

    #[test]
    fn a_restart_or_a_shorter_history_has_lost_state() {
        let facts =
            |run: &str, offset| Facts { run_id: run.to_owned(), replication_offset: offset, ..Facts::default() };
        let before = facts("a", 70);
        for (now, lost) in
            [(facts("a", 71), false), (facts("b", 0), true), (facts("b", 71), false), (facts("b", 69), true)]
        {
            assert_eq!(now.has_lost_state_since(&before), lost, "{now:?}");
        }
    }
}
