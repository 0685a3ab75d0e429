//! The CPU time of processes, and the cores of one that already runs.

use std::fs;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Nanoseconds that all threads of a process have run, as the kernel counts them.
pub(crate) fn nanoseconds(process: u32) -> u64 {
    // A thread may end meanwhile.
    let ran = |thread: u32| ran(&format!("/proc/{process}/task/{thread}")).unwrap_or(0);
    threads(process).into_iter().map(ran).sum()
}

/// The same of the calling thread.
pub(crate) fn nanoseconds_of_this_thread() -> u64 {
    ran("/proc/thread-self").unwrap()
}

fn ran(thread: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("{thread}/schedstat")).ok()?;
    stat.split_whitespace().next().map(|ns| ns.parse().unwrap())
}

/// Restricts a process to a core; no effect if the machine has no such core.
pub(crate) fn keep_on(core: usize, process: u32) {
    if !sched_getaffinity(None).unwrap().is_set(core) {
        return;
    }
    let mut set = CpuSet::new();
    set.set(core);
    for thread in threads(process) {
        sched_setaffinity(Pid::from_raw(i32::try_from(thread).unwrap()), &set).unwrap();
    }
}

fn threads(process: u32) -> Vec<u32> {
    let found = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    found.map(|thread| thread.unwrap().file_name().to_string_lossy().parse().unwrap()).collect()
}
