//! What goes wrong, and when: drawn from a seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt as _, SeedableRng};

/// How the engine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Alone,
    Sentinels,
    Cluster,
}

/// One thing that goes wrong. Replicas and masters are picked by these numbers, modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL, and a start after some time.
    KillReplica(usize),
    /// SIGTERM: it drains; and a start after some time.
    EndReplica(usize),
    /// SIGSTOP for some time.
    PauseReplica(usize),
    /// Its cable is pulled for some time.
    CutReplica(usize),
    /// SIGKILL, and an empty one starts after some time.
    EmptyMaster(usize),
    /// SIGKILL, and a start after some time with everything that was acknowledged.
    KillMaster(usize),
    PauseMaster(usize),
    CutMaster(usize),
    /// Its replica has to take over.
    Failover(usize),
    /// All limits are halved for some time.
    Reload,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// After the event before.
    pub(super) pause: Duration,
    pub(super) fault: Fault,
    pub(super) lasts: Duration,
}

/// Events for as long as they are asked for, in rounds.
pub(super) struct Schedule {
    random: SmallRng,
    topology: Topology,
    kinds: Vec<Fault>,
    rounds: usize,
    longest_ms: u64,
}

impl Schedule {
    pub(super) fn new(topology: Topology, seed: u64, longest: Duration) -> Self {
        let longest_ms = u64::try_from(longest.as_millis()).unwrap();
        Self { random: SmallRng::seed_from_u64(seed), topology, kinds: Vec::new(), rounds: 0, longest_ms }
    }

    fn kinds(&mut self) -> Vec<Fault> {
        let mut one = || self.random.random_range(0..6);
        let mut kinds = vec![
            Fault::KillReplica(one()),
            Fault::EndReplica(one()),
            Fault::PauseReplica(one()),
            Fault::CutReplica(one()),
            Fault::Reload,
        ];
        let mut of_engine = match self.topology {
            Topology::Alone => vec![Fault::KillMaster(0), Fault::PauseMaster(0), Fault::CutMaster(0)],
            _ => vec![Fault::Failover(one()), Fault::PauseMaster(one()), Fault::CutMaster(one())],
        };
        let empty = Fault::EmptyMaster(one());
        // What loses writes comes seldom: it allows more than the limit.
        if self.topology == Topology::Sentinels {
            of_engine = vec![[Fault::Failover(0), Fault::CutMaster(0), empty, Fault::PauseMaster(0)][self.rounds % 4]];
        } else if self.rounds % 2 == 1 {
            of_engine.push(empty);
        }
        self.rounds += 1;
        kinds.extend(of_engine);
        kinds.shuffle(&mut self.random);
        kinds
    }
}

impl Iterator for Schedule {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.kinds.is_empty() {
            self.kinds = self.kinds();
        }
        let fault = self.kinds.pop()?;
        let pause = Duration::from_millis(self.random.random_range(100..600));
        let lasts = Duration::from_millis(self.random.random_range(100..self.longest_ms));
        Some(Event { pause, fault, lasts })
    }
}
