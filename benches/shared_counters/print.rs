//! Prints what was measured, and the ratios of the goals.

use crate::contender::{Contender, Measured};
use crate::numbers::Spread;

/// Each contender: its costs, the replicas' in relation to memory, the engine's in relation to the reference's commands.
pub(crate) fn all(contenders: &[Contender], measured: &[Vec<Measured>]) {
    let of = |contender| contenders.iter().position(|other| *other == contender).map(|at| &measured[at][..]);
    let (memory, reference) = (of(Contender::Memory).unwrap(), of(Contender::Reference).unwrap());
    for (contender, runs) in contenders.iter().zip(measured) {
        let spread = |number| Spread::new(each(runs, number));
        let ratio = |to: &[Measured], number| Spread::ratio(&each(runs, number), &each(to, number));
        println!("  {:<15} checks a second {}", contender.name(), spread(|run| run.checks_per_second));
        if *contender == Contender::Reference {
            println!("    engine CPU us a check {}, client {}", spread(engine), spread(replicas));
            continue;
        }
        println!("    replica CPU us a check {}, to memory: {}", spread(replicas), ratio(memory, replicas));
        if *contender != Contender::Memory {
            println!("    engine CPU us a check {}, to reference: {}", spread(engine), ratio(reference, engine));
            println!("    key operations a thousand checks {}", spread(|run| 1e3 * run.key_operations));
        }
        println!(
            "    p50 us {}, p99 us {}, p99 to memory: {}; denied % {}, unanswered {}",
            spread(|run| run.p50),
            spread(p99),
            ratio(memory, p99),
            spread(|run| 100.0 * run.denied),
            spread(|run| run.unanswered),
        );
    }
}

fn each(runs: &[Measured], number: fn(&Measured) -> f64) -> Vec<f64> {
    runs.iter().map(number).collect()
}

fn engine(run: &Measured) -> f64 {
    run.engine
}

fn replicas(run: &Measured) -> f64 {
    run.replicas
}

fn p99(run: &Measured) -> f64 {
    run.p99
}
