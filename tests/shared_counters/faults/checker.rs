//! Whether what clients saw is what is promised: in each window of each counter no more than the limit, but for what a forgetting engine and
//! replicas without one may let pass.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::history::{Answer, Record};
use super::limits::{Limit, SHORT_MS, WhenDown};
use super::nemesis::{Done, Sample, without_engine};
use super::schedule::Topology;
use crate::windows::{Windows, fitting};

/// What is known of a run.
pub(super) struct Run<'r> {
    pub(super) topology: Topology,
    pub(super) limits: &'r [Limit],
    pub(super) records: &'r [Record],
    pub(super) done: &'r [Done],
    pub(super) samples: &'r [Sample],
}

/// What was found, by what decides without the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Windows, and counters without one that ends.
    pub(super) windows: u32,
    /// Of these, those that were used up.
    pub(super) used_up: u32,
    /// Those in which nothing allows more than the limit.
    pub(super) strict: u32,
    /// Those with more than the limit, which the engine's losses allow; and the largest, in limits.
    pub(super) lost: u32,
    pub(super) lost_worst: f64,
    /// Those with more than that, which answers without the engine allow; and the largest, in limits.
    pub(super) down: u32,
    pub(super) down_worst: f64,
}

/// A window of a counter.
struct Window {
    limit: usize,
    epoch: u32,
    /// From the first check that may be of it to the last.
    life: (i64, i64),
    hits: u32,
}

impl Run<'_> {
    /// What was found, or what is wrong.
    pub(super) fn check(&self) -> Result<BTreeMap<WhenDown, Found>, String> {
        let down: BTreeMap<_, _> =
            WhenDown::ALL.map(|answer| (answer, without_engine(self.samples, self.done, answer))).into_iter().collect();
        let mut found: BTreeMap<_, Found> = BTreeMap::new();
        for window in self.windows() {
            let limit = &self.limits[window.limit];
            let found = found.entry(limit.when_down).or_default();
            let max = self.max(limit, window.life);
            let losses = self.losses(window.life);
            let outages = &down[&limit.when_down];
            let overlaps = |(from, to): &&(i64, i64)| *from <= window.life.1 && window.life.0 <= *to;
            let outages = u32::try_from(outages.iter().filter(overlaps).count()).unwrap();
            found.windows += 1;
            found.used_up += u32::from(window.hits >= max - max / 10);
            found.strict += u32::from(losses == 0 && (outages == 0 || limit.when_down == WhenDown::Deny));
            if window.hits <= max {
                continue;
            }
            let limits = f64::from(window.hits) / f64::from(max);
            if window.hits <= max * (1 + losses) {
                found.lost += 1;
                found.lost_worst = found.lost_worst.max(limits);
                continue;
            }
            let allowed = match limit.when_down {
                // One limit more where an outage begins, and one where it ends.
                WhenDown::Local => max * (1 + losses + 2 * outages),
                WhenDown::Allow if outages > 0 => u32::MAX,
                WhenDown::Deny | WhenDown::Allow => 0,
            };
            if window.hits > allowed {
                return Err(self.explain(&window, max, losses, outages));
            }
            found.down += 1;
            found.down_worst = found.down_worst.max(limits);
        }
        Ok(found)
    }

    /// Admitted hits by counter and window. A hit that fits into several windows is counted where it does least harm.
    fn windows(&self) -> Vec<Window> {
        let mut long: BTreeMap<(usize, u32), Window> = BTreeMap::new();
        let mut short: BTreeMap<usize, Windows> = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.answer == Answer::Admitted) {
            let Record { limit, epoch, before_ms, after_ms, hits, reset_s, .. } = *record;
            if self.limits[limit].is_short {
                let ends = fitting(reset_s, (before_ms, after_ms), SHORT_MS, CLOCKS_MS);
                short.entry(limit).or_default().add(ends, hits);
                continue;
            }
            let new = || Window { limit, epoch, life: (before_ms, after_ms), hits: 0 };
            let window = long.entry((limit, epoch)).or_insert_with(new);
            window.life = (window.life.0.min(before_ms), window.life.1.max(after_ms));
            window.hits += hits;
        }
        let mut all: Vec<Window> = long.into_values().collect();
        for (limit, windows) in short {
            for (end, hits) in windows.distributed(SHORT_MS, |end| self.max(&self.limits[limit], (end - SHORT_MS, end)))
            {
                all.push(Window { limit, epoch: 0, life: (end - SHORT_MS, end), hits });
            }
        }
        all
    }

    /// The largest limit that may have been in force.
    fn max(&self, limit: &Limit, life: (i64, i64)) -> u32 {
        let is_halved =
            |done: &Done| done.is_reload && done.from_ms + RELOAD_MS < life.0 && life.1 < done.to_ms - RELOAD_MS;
        if self.done.iter().any(is_halved) { limit.max / 2 } else { limit.max }
    }

    /// How many losses have an effect on a window.
    fn losses(&self, life: (i64, i64)) -> u32 {
        let overlaps = |done: &&Done| done.loses && done.from_ms <= life.1 && life.0 <= done.to_ms + self.slack_ms();
        u32::try_from(self.done.iter().filter(overlaps).count()).unwrap()
    }

    /// After a fault another master may still take over.
    const fn slack_ms(&self) -> i64 {
        if matches!(self.topology, Topology::Alone) { 0 } else { 5_000 }
    }

    fn explain(&self, window: &Window, max: u32, losses: u32, outages: u32) -> String {
        let limit = &self.limits[window.limit];
        let (from, to) = (window.life.0 - 1_000, window.life.1 + 1_000);
        let mut text = format!(
            "{} hits of a limit of {max} of {}, epoch {}, from {} to {}: {losses} losses, {outages} times without the engine\n",
            window.hits, limit.key, window.epoch, window.life.0, window.life.1
        );
        for done in self.done.iter().filter(|done| done.from_ms <= to && from <= done.to_ms + self.slack_ms()) {
            writeln!(text, "    {done}").unwrap();
        }
        let is_near =
            |record: &&Record| record.limit == window.limit && record.after_ms >= from && record.before_ms <= to;
        for record in self.records.iter().filter(is_near) {
            let Record { before_ms, after_ms, replica, epoch, hits, answer, reset_s, .. } = record;
            writeln!(
                text,
                "    {before_ms} to {after_ms}: replica {replica}, e{epoch}, {hits} hits: {answer:?}, reset {reset_s} s"
            )
            .unwrap();
        }
        text
    }
}

/// Checks that came before a reload may be answered after it.
const RELOAD_MS: i64 = 1_100;
/// By how much a replica may be wrong about the engine's clock.
const CLOCKS_MS: i64 = 100;
