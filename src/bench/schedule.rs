//! The schedule of checks, fixed before the run.
//!
//! In an open loop the next check is due whether or not the last one was answered, and its latency counts from the time when
//! it was due. So a server that stalls for a second delays every check that was due in this second, not only those that were
//! in flight ("coordinated omission", as Gil Tene calls it, is avoided).

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};

/// The rate of checks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each answer is followed by the next check immediately.
    Closed,
    /// A fixed rate, independent of the answers.
    Open {
        /// Checks per second over all connections, above 0.
        rate: f64,
        /// Their distribution over time.
        arrivals: Arrivals,
    },
}

/// The distribution of the checks of an open loop over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// At equal intervals.
    Even,
    /// As from independent callers: with exponentially distributed intervals.
    Poisson,
}

/// The schedule of one connection. Instants are nanoseconds since the start of the run.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The next check; none if it is not before `end_ns`.
    next_ns: u64,
    end_ns: u64,
    steps: Steps,
}

#[derive(Clone, Debug)]
enum Steps {
    Closed,
    /// The n-th check of this connection, the first of which is `offset` steps after the start.
    Even {
        taken: f64,
        offset_ns: f64,
        step_ns: f64,
    },
    Poisson {
        at_ns: f64,
        step_ns: f64,
        random: Box<SmallRng>,
    },
}

impl Schedule {
    /// The schedule of connection number `index` of `connections`, from the start until `end_ns`.
    pub(super) fn new(pace: Pace, index: usize, connections: usize, end_ns: u64, seed: u64) -> Self {
        #[allow(clippy::cast_precision_loss)] // A few thousand connections.
        let (index, connections) = (index as f64, connections.max(1) as f64);
        let steps = match pace {
            Pace::Closed => Steps::Closed,
            Pace::Open { rate, arrivals: Arrivals::Even } => {
                Steps::Even { taken: 0.0, offset_ns: index * SECOND / rate, step_ns: connections * SECOND / rate }
            }
            Pace::Open { rate, arrivals: Arrivals::Poisson } => Steps::Poisson {
                at_ns: 0.0,
                step_ns: connections * SECOND / rate,
                random: Box::new(SmallRng::seed_from_u64(seed)),
            },
        };
        let mut schedule = Self { next_ns: 0, end_ns, steps };
        schedule.advance();
        schedule
    }

    /// When the next check is due; `None` if there are no more. In a closed loop one is always due.
    pub(super) fn next_due(&self) -> Option<u64> {
        Some(self.next_ns).filter(|next| *next < self.end_ns)
    }

    /// Takes the next check if it is due. Returns the instant from which its latency counts.
    pub(super) fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        if let Steps::Closed = self.steps {
            return Some(now_ns).filter(|now| *now < self.end_ns);
        }
        let due = self.next_due().filter(|due| *due <= now_ns)?;
        self.advance();
        Some(due)
    }

    /// Ends the schedule at `end_ns`, if that is before the current end.
    pub(super) fn end_at(&mut self, end_ns: u64) {
        self.end_ns = self.end_ns.min(end_ns);
    }

    /// Whether checks that were due before the end are still waiting. Never in a closed loop.
    pub(super) fn has_left(&self) -> bool {
        !matches!(self.steps, Steps::Closed) && self.next_due().is_some()
    }

    /// The number of checks that are due from `from_ns` on and were not taken. Always 0 in a closed loop.
    pub(super) fn left_from(&self, from_ns: u64) -> u64 {
        if let Steps::Closed = self.steps {
            return 0;
        }
        let (mut rest, mut left) = (self.clone(), 0);
        while let Some(due) = rest.next_due() {
            left += u64::from(due >= from_ns);
            rest.advance();
        }
        left
    }

    fn advance(&mut self) {
        let next_ns = match &mut self.steps {
            Steps::Closed => 0.0,
            Steps::Even { taken, offset_ns, step_ns } => {
                let next_ns = *offset_ns + *taken * *step_ns;
                *taken += 1.0;
                next_ns
            }
            Steps::Poisson { at_ns, step_ns, random } => {
                let distance: f64 = Exp1.sample(random);
                *at_ns += distance * *step_ns;
                *at_ns
            }
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates.
        let next_ns = next_ns as u64;
        self.next_ns = next_ns;
    }
}

const SECOND: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn open(rate: f64, arrivals: Arrivals) -> Pace {
        Pace::Open { rate, arrivals }
    }

    fn all(mut schedule: Schedule) -> Vec<u64> {
        std::iter::from_fn(|| schedule.take_due(u64::MAX)).collect()
    }

    #[test]
    fn connections_take_turns() {
        let pace = open(8.0, Arrivals::Even);
        let mut due: Vec<_> = (0..3).map(|index| all(Schedule::new(pace, index, 3, S, 0))).collect();
        assert_eq!(due[1], [S / 8, S / 2, S / 8 * 7]);
        let mut together = due.concat();
        together.sort_unstable();
        assert_eq!(together, (0..8).map(|n| n * S / 8).collect::<Vec<_>>());
        due.clear();
    }

    #[test]
    fn a_rate_is_kept_exactly_over_a_long_time() {
        for rate in [3.0, 999.0, 1_234_567.0] {
            let count: usize =
                (0..2).map(|index| all(Schedule::new(open(rate, Arrivals::Even), index, 2, S, 0)).len()).sum();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let expected = rate as usize;
            assert_eq!(count, expected);
        }
        let count = all(Schedule::new(open(100_000.0, Arrivals::Poisson), 0, 1, S, 5)).len();
        assert!((98_500..101_500).contains(&count), "{count}: five standard deviations are 1,600");
    }

    #[test]
    fn nothing_is_taken_before_it_is_due_and_nothing_is_lost_when_late() {
        let mut schedule = Schedule::new(open(1_000.0, Arrivals::Even), 0, 1, S, 0);
        assert_eq!(schedule.take_due(0), Some(0));
        assert_eq!(schedule.take_due(999_999), None);
        assert_eq!(schedule.next_due(), Some(1_000_000));
        assert_eq!(schedule.take_due(5_500_000), Some(1_000_000));
        assert_eq!(schedule.left_from(0), 998);
        assert_eq!(schedule.left_from(S / 2), 500);
        schedule.end_at(10_000_000);
        assert_eq!(schedule.left_from(0), 8);
        assert_eq!(all(schedule).last(), Some(&9_000_000));
    }

    #[test]
    fn a_closed_loop_is_always_due_until_it_ends() {
        let mut schedule = Schedule::new(Pace::Closed, 0, 1, 100, 0);
        assert_eq!((schedule.take_due(7), schedule.take_due(7), schedule.take_due(100)), (Some(7), Some(7), None));
        assert_eq!(schedule.left_from(0), 0);
    }
}
