//! Leases in a simulated fleet.

mod fleet;
mod ledger;
mod traffic;

use fleet::{Fleet, Setup};
use tidegate::engine::{Algorithm, CountDenied, Limit, Queue, QueueMode, Starts};
use tidegate::units::Nanos;
use traffic::Spread;

fn limit(max: u32, seconds: u64, algorithm: Algorithm) -> Limit {
    let fixed = matches!(algorithm, Algorithm::FixedWindow { .. });
    let count_denied = if fixed { CountDenied::Alone } else { CountDenied::Never };
    Limit { max, window: Nanos::from_secs(seconds), algorithm, ban: None, count_denied }
}
#[test]
fn explore() {
    let clock = Algorithm::FixedWindow { starts: Starts::Clock };
    let queue = Queue { size: 0, mode: QueueMode::Hold };
    for (max, secs, n, windows) in [(10_000, 1, 2, 6), (10_000, 1, 10, 6), (10_000, 1, 20, 6), (6_000, 60, 10, 3), (30_000, 60, 10, 2), (30_000, 60, 50, 2)] {
        for algorithm in [clock, Algorithm::FixedWindow { starts: Starts::FirstRequest }, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst: max, queue }] {
        for load in [0.9, 1.05, 1.5, 3.0] {
            let mut line = format!("{max}/{secs}s n {n} {load} {}: ", match algorithm { Algorithm::FixedWindow{starts: Starts::Clock} => "clock", Algorithm::FixedWindow{..} => "first", Algorithm::SlidingWindow => "slide", _ => "bucket"});
            for spread in Spread::ALL {
                let mut l = Fleet::run(Setup { limit: limit(max, secs, algorithm), replicas: n, load, spread, windows, hits: 1, lost: 0, late: 0, crashes: 0, seed: 1 });
                line += &format!(" | {:.3} {:.4} w{:.1}{}", l.under_admission(), l.asks_per_check(), l.waited as f64 * 100.0 / l.checks as f64, if l.excess() > 0 { format!(" EXCESS {}", l.excess()) } else { String::new() });
            }
            println!("{line}");
        }
        }
    }
}
