//! Whether an engine is fit for shared counters: what `tidegate store check` finds.

use std::time::Duration;

use redis::Cmd;

use super::connection::{Connection, Login, NodeAddress};
use super::engine_clock::clock_offset_ns;
use super::error::{LinkError, Remedy};
use super::exact::{ExactBatch, SharedCharge};
use super::facts::{Facts, RIGHTS};
use super::key::{KeyPrefix, SharedKey};
use super::node::engine_time;
use super::parts;
use crate::engine::{Algorithm, CountDenied, Limit, Op};
use crate::store::Fingerprint;
use crate::units::{Nanos, Timestamp};

/// What was found about one node.
#[derive(Clone, Debug)]
pub struct Fitness {
    /// The node.
    pub node: NodeAddress,
    /// What it reports of itself.
    pub facts: Facts,
    /// The shortest time that a request took.
    pub latency: Nanos,
    /// The engine's clock less ours, in nanoseconds.
    pub clock_offset_ns: i64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// In one sentence.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Promises are weaker.
    Warning,
    /// Counters cannot be shared.
    Error,
}

impl Fitness {
    /// Examines a node: its version, policy, rights, latency and clock. Leaves a few keys that expire within two seconds.
    ///
    /// # Errors
    /// It cannot be reached, or does not let this login in.
    pub async fn examine(
        node: NodeAddress,
        login: &Login,
        prefix: &KeyPrefix,
        within: Duration,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Self, LinkError> {
        let connection = Connection::open(&node, login, within).await?;
        let mut fitness = Self {
            node,
            facts: Facts::default(),
            latency: Nanos::from_ns(u64::MAX),
            clock_offset_ns: 0,
            findings: Vec::new(),
        };
        match connection.ask(redis::cmd("PING"), within).await {
            Err(error @ LinkError::Rejected { .. }) if !is_forbidden(&error) => return Err(error),
            Err(error) => fitness.right_missing("PING", &error),
            Ok(_) => {}
        }
        match connection.ask(redis::cmd("INFO"), within).await {
            Ok(info) => fitness.judge(Facts::read(&redis::from_redis_value::<String>(info).unwrap_or_default())),
            Err(error) => fitness.right_missing("INFO", &error),
        }
        for _ in 0..SAMPLES {
            let asked = clock();
            match connection.ask(redis::cmd("TIME"), within).await {
                Ok(reply) => fitness.learn_time(asked, clock(), engine_time(&reply)),
                Err(error) => {
                    fitness.right_missing("TIME", &error);
                    break;
                }
            }
        }
        if fitness.facts.is_master {
            fitness.try_rights(&connection, prefix, within, clock()).await;
        }
        fitness.judge_times();
        Ok(fitness)
    }

    /// Whether counters can be shared.
    pub fn is_fit(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }

    fn judge(&mut self, facts: Facts) {
        if !facts.is_supported() {
            let (server, version) = (&facts.server, &facts.version);
            self.error(format!("{server} {version} is too old: Redis 7.0 or Valkey 8 is needed"));
        }
        if !facts.is_master {
            self.error("this node is a replica, and takes no writes: name its master".to_owned());
        }
        if facts.may_evict() {
            self.warn(format!(
                "it may drop counters (maxmemory_policy {}, evicted_keys {}), and then admits more than a limit: set \
                 maxmemory-policy noeviction",
                facts.maxmemory_policy, facts.evicted_keys
            ));
        }
        self.facts = facts;
    }

    fn learn_time(&mut self, asked: Timestamp, answered: Timestamp, engine: Option<Timestamp>) {
        let Some(engine) = engine else { return };
        let took = answered.since(asked);
        if took < self.latency {
            self.clock_offset_ns = clock_offset_ns(asked, answered, engine);
            self.latency = took;
        }
    }

    fn judge_times(&mut self) {
        if self.latency == Nanos::from_ns(u64::MAX) {
            self.latency = Nanos::ZERO;
        }
        if self.latency >= SLOW {
            self.warn(format!("a request takes {}, and --store-timeout is 10ms by default: raise it", self.latency));
        }
        if self.clock_offset_ns.unsigned_abs() >= CLOCK_OFF.as_ns() {
            let offset = Nanos::from_ns(self.clock_offset_ns.unsigned_abs());
            self.warn(format!("its clock differs from that of this machine by {offset}: the engine's is used"));
        }
    }

    /// Uses what the scripts and the heartbeat of replicas use, on keys of this prefix.
    async fn try_rights(&mut self, connection: &Connection, prefix: &KeyPrefix, within: Duration, now: Timestamp) {
        let Some([window, bucket, log, replicas]) = self.keys_here(connection, prefix, within).await else { return };
        let count = CountDenied::Never;
        let limit = |algorithm| Limit { max: 1, window: Nanos::SECOND, algorithm, ban: None, count_denied: count };
        let (fixed, sliding) = (limit(Algorithm::SlidingWindow), limit(Algorithm::SlidingLog));
        let mut batch = ExactBatch::new(now);
        let charges =
            [(&window, &fixed, Op::Charge(1)), (&log, &sliding, Op::Charge(1)), (&log, &sliding, Op::Refund(1))];
        let is_full = charges.into_iter().any(|(key, limit, op)| batch.add(SharedCharge { key, limit, op }).is_err());
        if is_full {
            return;
        }
        for (what, command) in [("EVAL", batch.command_with_script()), ("EVALSHA", batch.command())] {
            match connection.ask(command, within).await {
                Ok(reply) => {
                    if batch.read(&reply).is_err() {
                        self.error(format!("the script answers with something else by {what}"));
                    }
                }
                Err(error) => self.right_missing(what, &error),
            }
        }
        self.try_changes(connection, prefix, within, now).await;
        let at = now.plus(Nanos::SECOND).as_ns() / 1_000_000;
        let on_key = |name: &str, key: &SharedKey, arguments: &[&str]| -> Cmd {
            let mut command = redis::cmd(name);
            command.arg(key.as_str()).arg(arguments);
            command
        };
        let at = at.to_string();
        for (name, key, arguments) in [
            ("INCRBY", &bucket, &["1"][..]),
            ("GET", &bucket, &[]),
            ("PEXPIREAT", &bucket, &[&at]),
            ("ZADD", &replicas, &["0", "store check"]),
            ("PEXPIREAT", &replicas, &[&at]),
            ("ZREMRANGEBYSCORE", &replicas, &["-inf", "0"]),
            ("ZCARD", &replicas, &[]),
        ] {
            if let Err(error) = connection.ask(on_key(name, key, arguments), within).await {
                self.right_missing(name, &error);
            }
        }
    }

    /// Uses what shares the changes of operators. Their keys are in one slot, perhaps that of another node.
    async fn try_changes(&mut self, connection: &Connection, prefix: &KeyPrefix, within: Duration, now: Timestamp) {
        for (what, command) in parts::trials(prefix, now.plus(Nanos::SECOND)) {
            match connection.ask(command, within).await {
                Err(error) if error.remedy() != Remedy::FollowTopology => self.right_missing(what, &error),
                _ => {}
            }
        }
    }

    /// Keys of one slot that this node has.
    async fn keys_here(
        &mut self,
        connection: &Connection,
        prefix: &KeyPrefix,
        within: Duration,
    ) -> Option<[SharedKey; 4]> {
        for attempt in 0..SLOT_ATTEMPTS {
            let parts = [b"store check", &attempt.to_le_bytes()[..]].concat();
            let keys = [1, 2, 3, 4].map(|place| {
                SharedKey::new(prefix, Fingerprint::OVERRIDE, Fingerprint::from_bytes([place; 16]), &parts)
            });
            let [first, ..] = &keys;
            let mut command = redis::cmd("GET");
            command.arg(first.as_str());
            match connection.ask(command, within).await {
                Err(LinkError::Rejected { code, .. }) if code == "MOVED" => {}
                _ => return Some(keys),
            }
        }
        self.error("this node has too few slots of the cluster to be examined".to_owned());
        None
    }

    fn right_missing(&mut self, command: &str, error: &LinkError) {
        self.error(match error {
            error if is_forbidden(error) => {
                format!("this user may not use {command} on these keys ({error}): give it {RIGHTS}")
            }
            _ => format!("{command} fails: {error}"),
        });
    }

    fn warn(&mut self, text: String) {
        self.findings.push(Finding { severity: Severity::Warning, text });
    }

    fn error(&mut self, text: String) {
        self.findings.push(Finding { severity: Severity::Error, text });
    }
}

/// Whether a right is missing: for the command, or for one of a script.
fn is_forbidden(error: &LinkError) -> bool {
    let LinkError::Rejected { code, detail } = error else { return false };
    code == "NOPERM" || IN_SCRIPTS.iter().any(|text| detail.contains(text))
}

/// What Redis 7.0, and later versions and Valkey, say of a command of a script.
const IN_SCRIPTS: [&str; 2] = ["The user executing the script can't run this command", "ACL failure in script"];
const SAMPLES: usize = 10;
/// A node with a hundredth of the slots has one of so many keys, almost certainly.
const SLOT_ATTEMPTS: u32 = 2_000;
/// Half of what a check waits by default.
const SLOW: Nanos = Nanos::from_ns(5_000_000);
const CLOCK_OFF: Nanos = Nanos::SECOND;
