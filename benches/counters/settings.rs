//! What settings cost a decision, and what one more setting costs among 10,000 rules.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tidegate::limiter::{Limiter, Settings, WorkerSlot};
use tidegate::rules::{Assignment, Overlay, RuleSet, Scope, ScopeTarget, SettingName};

use crate::Scale;
use crate::decisions::checks;
use crate::numbers::{Spread, in_turns};
use crate::rules::rules_of_partners;
use crate::traffic::{BATCH, NOW, Values, time};

/// The rules, each of a partner of its own.
const RULES: usize = 10_000;
/// The number of counters in all.
const COUNTERS: usize = 100_000;

pub(crate) fn run(scale: Scale) {
    let small = scale.counters < COUNTERS;
    let size = if small { 100 } else { RULES };
    let rules = Arc::new(rules_of_partners(size));
    decisions(scale, size, &rules);
    one_more(scale, size, &rules);
}

/// Decisions without settings, with one of another rule, and with those of the rules in use.
fn decisions(scale: Scale, size: usize, rules: &Arc<RuleSet>) {
    let counters = COUNTERS.min(scale.counters);
    let whole = |n: usize| of_rule(n, &[], n);
    let tenants = |n: usize| of_rule(n, &[("tenant", "tenant-000")], n);
    let used = 0..10;
    let cases: [(&str, Vec<Assignment>); 4] = [
        ("none", Vec::new()),
        ("of another rule", vec![whole(size - 1)]),
        ("of the rules in use", used.clone().map(whole).collect()),
        ("of entries of the rules in use", used.map(tenants).collect()),
    ];
    let limiters: Vec<_> = cases.iter().map(|(_, settings)| with(rules, settings)).collect();
    let mut values = vec![Values::default(); BATCH];
    let rounds = in_turns(scale.rounds + 1, cases.len(), |case| {
        let mut random = SmallRng::seed_from_u64(3);
        let batches = (0..scale.checks / BATCH).map(|_| {
            for values in &mut values {
                values.set_among(random.random_range(0..counters), 10);
            }
            checks(&limiters[case], WorkerSlot(0), &values) as f64
        });
        Spread::new(batches.collect()).median() / BATCH as f64
    });
    // The first round creates the counters.
    let rounds: Vec<_> = rounds.iter().map(|rounds| rounds[1..].to_vec()).collect();
    println!("match and decide, {size} rules, {counters} counters, ns each and ratio to no setting:");
    for ((name, _), ns) in cases.iter().zip(&rounds) {
        println!("  settings {name}: {}, ratio {}", Spread::new(ns.clone()), Spread::ratio(ns, &rounds[0]));
    }
}

/// One more setting, next to none, to one of each rule, and to as many of one rule; compared with a reload.
fn one_more(scale: Scale, size: usize, rules: &Arc<RuleSet>) {
    let of_each: Vec<_> = (0..size).map(|n| of_rule(n, &[], n)).collect();
    let tenants: Vec<_> = (0..size).map(|n| format!("t{n}")).collect();
    let of_one: Vec<_> = tenants.iter().enumerate().map(|(n, tenant)| of_rule(0, &[("tenant", tenant)], n)).collect();
    // Of half of the tenants, and of one endpoint: a check may match one of each, so there is a case for each pair.
    let mut crossing: Vec<_> = of_one.iter().take(size.div_ceil(2).saturating_sub(100)).cloned().collect();
    crossing.push(of_rule(0, &[("endpoint", "/pay")], size));
    let reload = Spread::new((0..scale.rounds).map(|_| milliseconds(|| drop(with(&copy(rules), &[])))).collect());
    println!("one more setting among {size} rules, until it is in force, ms; a reload takes {reload}:");
    for (name, settings) in [
        ("none", Vec::new()),
        ("one of each rule", of_each),
        ("as many of one rule", of_one),
        ("half as many of one rule, crossed by one", crossing),
    ] {
        let limiter = with(rules, &settings);
        let overlay = overlay(rules, &settings);
        let more = of_rule(0, &[("tenant", "one-more")], size);
        let target = more.scope.target.clone();
        let all: Vec<_> = settings.iter().chain([&more]).filter(|one| one.scope.target == target).collect();
        let runs = (0..scale.rounds).map(|_| {
            milliseconds(|| {
                let overlay = overlay.with(rules, &target, &all);
                limiter.put_in_force(NOW, Arc::clone(rules), &overlay);
            })
        });
        println!("  settings before: {name}: {}", Spread::new(runs.collect()));
    }
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    time(work) as f64 / 1e6
}

/// The same rules, as after a reload.
fn copy(rules: &RuleSet) -> Arc<RuleSet> {
    Arc::new(rules_of_partners(rules.rules().len()))
}

fn with(rules: &Arc<RuleSet>, settings: &[Assignment]) -> Limiter {
    let limiter = Limiter::new(Settings { counter_budget_bytes: 1 << 40, workers: 2, ..Settings::default() });
    limiter.put_in_force(NOW, Arc::clone(rules), &overlay(rules, settings));
    limiter
}

fn overlay(rules: &RuleSet, settings: &[Assignment]) -> Overlay {
    let mut targets: Vec<&ScopeTarget> = settings.iter().map(|one| &one.scope.target).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut rest = settings;
    let mut by_target = Vec::with_capacity(targets.len());
    for target in targets {
        // Settings are in the order of their rules, which is that of the targets.
        let count = rest.iter().take_while(|one| one.scope.target == *target).count();
        let (own, others) = rest.split_at(count);
        rest = others;
        by_target.push((target, own.iter().collect()));
    }
    Overlay::new(rules, by_target.into_iter())
}

/// A setting of rule `n`.
fn of_rule(n: usize, entries: &[(&str, &str)], order: usize) -> Assignment {
    let target = ScopeTarget::Rule(format!("api.partner_partner-{n:04}.endpoint.tenant"));
    let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Assignment {
        scope: Scope::new(target, entries, 0).unwrap(),
        name: SettingName::RequestsPerUnit,
        value: "3000000000".to_owned(),
        order: order as u64,
    }
}
