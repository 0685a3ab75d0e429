//! Does what the schedule says, and keeps a record of it.

use std::fmt;
use std::thread;
use std::time::Duration;

use super::history::now_ms;
use super::limits::{Limit, WhenDown, rules};
use super::schedule::{Event, Fault, Topology};
use super::world::{REPLICAS, World};
use crate::server::{DEADLINE, eventually, rules_in, wait_for};

/// What was done, from the begin to the end of its effect.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) what: String,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// The engine may have lost what it had acknowledged.
    pub(super) loses: bool,
    /// Limits are halved meanwhile.
    pub(super) is_reload: bool,
    /// A replica ends, and its counts with it.
    pub(super) is_restart: bool,
}

/// How many checks each replica has answered without the engine, at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) at_ms: i64,
    counts: [[u64; 3]; REPLICAS.len()],
}

pub(super) struct Nemesis<'w> {
    pub(super) world: &'w mut World,
    pub(super) limits: &'w [Limit],
    pub(super) done: Vec<Done>,
    pub(super) samples: Vec<Sample>,
}

impl fmt::Display for Done {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, from_ms, to_ms, .. } = self;
        write!(formatter, "{from_ms} to {to_ms}: {what}")
    }
}

impl Nemesis<'_> {
    pub(super) fn act(&mut self, event: Event) {
        thread::sleep(event.pause);
        self.sample();
        let from_ms = now_ms();
        let Some((what, loses)) = self.perform(event) else { return };
        let is_reload = event.fault == Fault::Reload;
        let is_restart = matches!(event.fault, Fault::KillReplica(_) | Fault::EndReplica(_));
        self.done.push(Done { what, from_ms, to_ms: now_ms(), loses, is_reload, is_restart });
        self.sample();
    }

    /// What was done, and whether the engine may have lost something; `None`: it could not be done now.
    fn perform(&mut self, Event { fault, lasts, .. }: Event) -> Option<(String, bool)> {
        let length = format!("{} ms", lasts.as_millis());
        match fault {
            Fault::KillReplica(number)
            | Fault::EndReplica(number)
            | Fault::PauseReplica(number)
            | Fault::CutReplica(number) => Some((self.disturb_replica(fault, number % REPLICAS.len(), lasts), false)),
            Fault::EmptyMaster(number) => {
                let (at, host) = self.kill_master(number, lasts)?;
                let World { network, engines, .. } = &mut *self.world;
                network.on(host, || engines[at].restart_empty());
                Some((format!("master {host} is killed for {length}, and starts empty"), true))
            }
            Fault::KillMaster(number) => {
                let (at, host) = self.kill_master(number, lasts)?;
                let World { network, engines, .. } = &mut *self.world;
                network.on(host, || engines[at].restart());
                Some((format!("master {host} is killed for {length}, and starts with what it has"), false))
            }
            Fault::PauseMaster(number) => {
                let at = self.master(number)?;
                self.world.engines[at].pause();
                thread::sleep(lasts);
                self.world.engines[at].resume();
                Some((format!("master {} is stopped for {length}", self.world.host(at)), self.may_fail_over(lasts)))
            }
            Fault::CutMaster(number) => {
                let host = self.world.host(self.master(number)?);
                self.world.network.cut_off(host);
                thread::sleep(lasts);
                self.world.network.connect(host);
                Some((format!("master {host} is cut off for {length}"), self.may_fail_over(lasts)))
            }
            Fault::Failover(number) => {
                let at = self.master(number)?;
                // One of a cluster waits until everything is on the other node; sentinels promote it as it is.
                let (is_asked, loses) = if self.world.topology == Topology::Sentinels {
                    (self.world.promote(), true)
                } else {
                    let heir = self.world.heir(at)?;
                    (self.world.ask::<()>(heir, &["CLUSTER", "FAILOVER"]).is_ok(), false)
                };
                thread::sleep(lasts);
                is_asked.then(|| (format!("the replica of master {} takes over", self.world.host(at)), loses))
            }
            Fault::Reload => {
                self.reload(2);
                thread::sleep(lasts);
                self.reload(1);
                Some((format!("limits are halved for {length}"), false))
            }
        }
    }

    /// What was done to a replica.
    fn disturb_replica(&mut self, fault: Fault, at: usize, lasts: Duration) -> String {
        let (host, length) = (REPLICAS[at], format!("{} ms", lasts.as_millis()));
        let replica = &mut self.world.replicas[at];
        match fault {
            Fault::KillReplica(_) => {
                replica.crash();
                thread::sleep(lasts);
                self.restart(at);
                format!("replica {host} is killed for {length}")
            }
            Fault::EndReplica(_) => {
                replica.signal("TERM");
                replica.ended(DEADLINE);
                thread::sleep(lasts);
                self.restart(at);
                format!("replica {host} ends, and starts after {length}")
            }
            Fault::PauseReplica(_) => {
                replica.signal("STOP");
                thread::sleep(lasts);
                replica.signal("CONT");
                format!("replica {host} is stopped for {length}")
            }
            _ => {
                self.world.network.cut_off(host);
                thread::sleep(lasts);
                self.world.network.connect(host);
                format!("replica {host} is cut off for {length}")
            }
        }
    }

    fn kill_master(&mut self, number: usize, lasts: Duration) -> Option<(usize, &'static str)> {
        let at = self.master(number)?;
        self.world.engines[at].kill();
        thread::sleep(lasts);
        Some((at, self.world.host(at)))
    }

    fn master(&self, number: usize) -> Option<usize> {
        let masters = self.world.masters();
        let at = *masters.get(number % masters.len().max(1))?;
        (self.world.topology == Topology::Alone || self.world.has_heir(at)).then_some(at)
    }

    fn may_fail_over(&self, lasts: Duration) -> bool {
        self.world.topology != Topology::Alone && lasts >= NOTICED
    }

    fn restart(&mut self, at: usize) {
        let World { network, replicas, .. } = &mut *self.world;
        network.on(REPLICAS[at], || replicas[at].restart());
    }

    /// Has all replicas load the rules with limits divided by this.
    fn reload(&self, divisor: u32) {
        for (host, server) in REPLICAS.iter().zip(&self.world.replicas) {
            self.world.network.on(host, || {
                let generation = || server.metric("tidegate_config_generation");
                let before = generation();
                rules_in(&server.dir, &rules(self.limits, divisor));
                server.signal("HUP");
                eventually("the reload", || generation() > before);
            });
        }
    }

    /// Asks replicas for their counts.
    pub(super) fn sample(&mut self) {
        let count = |(host, server): (&&str, &_)| self.world.network.on(host, || counts(server));
        let mut sample = Sample { at_ms: 0, counts: [[0; 3]; REPLICAS.len()] };
        for (counts, found) in sample.counts.iter_mut().zip(REPLICAS.iter().zip(&self.world.replicas).map(count)) {
            *counts = found;
        }
        sample.at_ms = now_ms();
        self.samples.push(sample);
    }
}

fn counts(server: &crate::server::TestServer) -> [u64; 3] {
    let text = wait_for("the metrics", DEADLINE, || {
        let (status, text) = server.http("GET", "/metrics", b"");
        (status == 200).then_some(text)
    });
    WhenDown::ALL.map(|answer| {
        let series = format!("tidegate_store_checks_down_total{{domain=\"api\",answer=\"{}\"}} ", answer.name());
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
    })
}

/// The times between two samples in which a replica answered without the engine, or may have before it ended. One that starts again counts
/// from 0.
pub(super) fn without_engine(samples: &[Sample], done: &[Done], answer: WhenDown) -> Vec<(i64, i64)> {
    let place = WhenDown::ALL.iter().position(|known| *known == answer).unwrap();
    let grew = |pair: &&[Sample]| {
        let counts = pair[0].counts.iter().zip(&pair[1].counts);
        counts.clone().any(|(before, after)| after[place] != before[place] && after[place] > 0)
    };
    let grown = samples.windows(2).filter(grew).map(|pair| (pair[0].at_ms, pair[1].at_ms));
    let ended = done.iter().filter(|done| done.is_restart).map(|done| (done.from_ms - SAMPLED_MS, done.to_ms));
    grown.chain(ended).collect()
}

/// A replica is asked for its counts within that time before it ends.
const SAMPLED_MS: i64 = 500;
/// From this time on others may hold a master for dead.
const NOTICED: Duration = Duration::from_millis(400);
