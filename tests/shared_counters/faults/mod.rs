//! Faults by a seeded schedule, in the manner of Jepsen: replicas are killed, stopped, cut off, ended and reloaded, and so are the engine's
//! nodes, while clients write down what each check was answered. Then it is checked that no window of any counter admitted more than its limit,
//! but for what an engine that loses writes and replicas that decide on their own are allowed.
//!
//! `SHARED_FAULTS_SECONDS=600` runs for that long, `SHARED_FAULTS_SEED` has another schedule. They need network namespaces, for which a
//! test has to be root.

mod checker;
mod history;
mod limits;
mod nemesis;
mod schedule;
mod world;

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use checker::Run;
use history::{Answer, Plan, Record, now_ms};
use limits::WhenDown;
use nemesis::Nemesis;
use schedule::{Schedule, Topology};
use world::{REPLICAS, World};

use crate::engines::{Kind, skip};

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn run(topology: Topology, seed: u64) {
    let Some(kind) = Kind::any() else { return };
    let seed = number("SHARED_FAULTS_SEED", seed);
    let seconds = number("SHARED_FAULTS_SECONDS", 12);
    let limits = limits::all();
    // On a busy machine the engine may take longer than a check waits in production.
    let flags = ["--store-timeout", "100ms", "--store-replicas", "3"];
    let world = World::start(topology, kind, &limits::rules(&limits, 1), &flags);
    let mut world = match world {
        Ok(world) => world,
        Err(why) => return skip(&format!("no network namespaces: {why}")),
    };
    let longest = Duration::from_millis(if seconds < 60 { 800 } else { 3_500 });
    let (is_over, start_ms) = (AtomicBool::new(false), now_ms());
    let plan = Plan { limits: &limits, seed, start_ms, is_over: &is_over };
    let addresses: Vec<String> = world.replicas.iter().map(|server| server.grpc.clone()).collect();
    let hosts = world.network.hosts.clone();
    let mut records: Vec<Record> = Vec::new();
    let (mut done, mut samples) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let clients: Vec<_> = REPLICAS
            .iter()
            .zip(&addresses)
            .enumerate()
            .map(|(at, (host, address))| {
                let (plan, hosts) = (&plan, &hosts);
                scope.spawn(move || hosts.on(host, || plan.run(at, address)))
            })
            .collect();
        let mut nemesis = Nemesis { world: &mut world, limits: &limits, done: Vec::new(), samples: Vec::new() };
        nemesis.sample();
        let end_ms = start_ms + i64::try_from(seconds * 1_000).unwrap();
        // What fails here must not leave the clients running.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for event in Schedule::new(topology, seed, longest).take_while(|_| now_ms() < end_ms) {
                nemesis.act(event);
            }
            nemesis.sample();
        }));
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            records.extend(client.join().unwrap());
        }
        acted.unwrap_or_else(|failure| std::panic::resume_unwind(failure));
        (done, samples) = (nemesis.done, nemesis.samples);
    });
    records.sort_by_key(|record| record.before_ms);
    let found = Run { topology, limits: &limits, records: &records, done: &done, samples: &samples }.check();
    let count = |answer: Answer| records.iter().filter(|record| record.answer == answer).count();
    eprintln!(
        "{topology:?}, {kind:?}, seed {seed}, {seconds} s: {} checks ({} admitted, {} denied, {} lost), {} faults",
        records.len(),
        count(Answer::Admitted),
        count(Answer::Denied),
        count(Answer::Lost),
        done.len(),
    );
    for done in &done {
        eprintln!("  {done}{}", if done.loses { " (may lose writes)" } else { "" });
    }
    let found = found.unwrap_or_else(|why| panic!("{topology:?}, seed {seed}: {why}"));
    for (when_down, found) in &found {
        eprintln!("  {}: {found:?}", when_down.name());
    }
    let deny = &found[&WhenDown::Deny];
    // A short run on a busy machine may have no window without a fault.
    assert!(deny.used_up > 0 && (deny.strict > 0 || seconds < 60), "the run shows nothing: {deny:?}");
}

#[test]
fn no_window_admits_more_whatever_happens_to_replicas_and_one_engine() {
    run(Topology::Alone, 1);
}

#[test]
fn no_window_admits_more_whatever_happens_to_replicas_and_engines_behind_sentinels() {
    run(Topology::Sentinels, 2);
}

#[test]
fn no_window_admits_more_whatever_happens_to_replicas_and_a_cluster() {
    run(Topology::Cluster, 3);
}
