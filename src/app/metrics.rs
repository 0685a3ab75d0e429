//! Fills the metrics' snapshot from what the decision path left behind.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Reloader;
use crate::grpc::{Held, Observers};
use crate::history::History;
use crate::limiter::Limiter;
use crate::net::Slots;
use crate::store::WhenFull;
use crate::telemetry::{
    ConfigValues, ConnectionValues, CounterValues, HistoryValues, ObservingValues, RuleSeries, RuleTotals, Snapshot,
    SweepValues,
};
use crate::usage::SeriesUsage;

/// Where the values are.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) limiter: Arc<Limiter>,
    pub(super) config: Arc<Reloader>,
    pub(super) clock: Arc<Clock>,
    pub(super) history: Arc<History>,
    pub(super) held: Held,
    pub(super) observers: Observers,
    /// Of each port.
    pub(super) slots: Vec<Slots>,
}

impl Sources {
    /// All values as they are now. Cost: a sum over the lanes of every series.
    pub(super) fn snapshot(&self) -> Snapshot {
        let usage = self.limiter.usage();
        let (requests, errors) = usage.requests();
        Snapshot {
            rules: usage.series_usage().into_iter().map(rule).collect(),
            domains_not_found: usage.unknown_domains(),
            errors: vec![("service_error", errors)],
            requests: vec![("ShouldRateLimit", requests)],
            global_shadow_mode: usage.global_shadow(),
            overrides_ignored: usage.overrides_ignored(),
            config: ConfigValues::from(&*self.config.status()),
            counters: self.counters(),
            sweep: self.sweep(),
            connections: self.connections(),
            observing: self.observing(),
            held_answers: self.held.count() as u64,
            clock_ahead: self.clock.ahead(),
            history: self.history(),
        }
    }

    fn counters(&self) -> CounterValues {
        let occupancy = self.limiter.store().occupancy();
        let (refused, admitted) = match self.limiter.settings().when_full {
            WhenFull::Deny => (occupancy.no_room, 0),
            WhenFull::Allow => (0, occupancy.no_room),
        };
        CounterValues {
            live: occupancy.counters as u64,
            bytes: occupancy.bytes as u64,
            budget_bytes: occupancy.budget_bytes as u64,
            refused,
            admitted,
        }
    }

    fn sweep(&self) -> SweepValues {
        let stats = self.limiter.store().sweep_stats();
        SweepValues { passes: stats.passes, freed: stats.freed, longest_pause: stats.longest_pause }
    }

    fn history(&self) -> HistoryValues {
        let status = self.history.status();
        HistoryValues {
            rows: status.rows,
            bytes: status.bytes,
            flushes: status.flushes,
            failures: status.failures,
            last_flush_age: self.clock.now().since(status.last_flush),
        }
    }

    fn observing(&self) -> ObservingValues {
        let usage = self.limiter.usage();
        let (series, series_limit) = usage.series_used();
        ObservingValues {
            observers: self.observers.count() as u64,
            denials_skipped: usage.denials().skipped(),
            series: series as u64,
            series_limit: series_limit as u64,
        }
    }

    fn connections(&self) -> ConnectionValues {
        ConnectionValues {
            open: self.slots.iter().map(|slots| slots.open() as u64).sum(),
            refused: self.slots.iter().map(Slots::refused).sum(),
        }
    }
}

fn rule(series: SeriesUsage) -> RuleSeries {
    let totals = RuleTotals {
        total_hits: series.totals.hits(),
        over_limit: series.totals.hits_over_limit,
        near_limit: series.totals.hits_near_limit,
        within_limit: series.totals.hits_within_limit,
        shadow_mode: series.totals.hits_shadow_denied,
    };
    let labels = series.labels;
    RuleSeries { domain: labels.domain, rule: labels.rule, key1: labels.key1, key2: labels.key2, totals }
}
