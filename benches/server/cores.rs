//! Restricts programs to cores.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first argument with which this binary runs a command on cores; cores (`0,1`) and the command follow.
pub(crate) const ROLE: &str = "--on-cores";

/// The command, on these cores.
pub(crate) fn on(cores: &[usize], program: impl AsRef<std::ffi::OsStr>) -> Command {
    let list: Vec<_> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ROLE, &list.join(",")]).arg(program);
    command
}

/// Restricts the calling thread (or a process with only one) to these cores; no effect if the machine has none of them.
pub(crate) fn stay_on(cores: impl IntoIterator<Item = usize>) {
    let (mut wanted, allowed) = (CpuSet::new(), sched_getaffinity(None).unwrap());
    cores.into_iter().filter(|core| allowed.is_set(*core)).for_each(|core| wanted.set(core));
    if wanted.count() > 0 {
        sched_setaffinity(None, &wanted).unwrap();
    }
}

/// Becomes the command, with the same process id, and ends with the parent process.
pub(crate) fn become_command(arguments: &[String]) {
    let [cores, program, arguments @ ..] = arguments else { panic!("cores and a command") };
    // Also if it is paused.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    stay_on(cores.split(',').map(|core| core.parse().unwrap()));
    panic!("{program}: {}", Command::new(program).args(arguments).exec());
}
