//! Bytes per counter of each contender: the growth of a process of its own.

use std::process::Command;

use crate::Scale;
use crate::contenders::{ALL, filled};
use crate::resident::resident_bytes;

/// The argument that makes this binary measure one thing and print a number.
pub(crate) const CHILD: &str = "--one-measurement-of-memory";

pub(crate) fn run(scale: Scale) {
    println!("{} counters, three entries whose values have 32 bytes; resident bytes each", scale.counters);
    let bytes = ALL.map(|(name, _)| measure(name, scale.counters));
    for ((name, _), each) in ALL.iter().zip(bytes) {
        println!("  {name:<17} {each:.0}, {:.2} times {}", each / bytes[0], ALL[0].0);
    }
}

fn measure(name: &str, counters: usize) -> f64 {
    let child = Command::new(std::env::current_exe().unwrap()).args([CHILD, name, &counters.to_string()]).output();
    let child = child.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    String::from_utf8(child.stdout).unwrap().trim().parse().unwrap()
}

/// Prints the bytes per counter.
pub(crate) fn child(name: &str, counters: usize) {
    let (_, new) = ALL.iter().find(|(known, _)| *known == name).unwrap();
    // One-time costs are not counted: loading code, initializing allocators.
    drop(filled(*new, 1));
    let before = resident_bytes();
    let contender = filled(*new, counters);
    println!("{}", resident_bytes().saturating_sub(before) as f64 / counters as f64);
    drop(contender);
}
