//! On which cores a program runs.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What the arguments after it, cores (`0,1`) and a command, make of this binary.
pub(crate) const ROLE: &str = "--on-cores";

/// The command, on these cores.
pub(crate) fn on(cores: &[usize], program: impl AsRef<std::ffi::OsStr>) -> Command {
    let list: Vec<_> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ROLE, &list.join(",")]).arg(program);
    command
}

/// Becomes the command, with the same process id, and ends with whoever started it. Where the machine has none of the cores, it runs on any.
pub(crate) fn become_command(arguments: &[String]) {
    let [cores, program, arguments @ ..] = arguments else { panic!("cores and a command") };
    // Also one that stands still.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let (mut wanted, allowed) = (CpuSet::new(), sched_getaffinity(None).unwrap());
    for core in cores.split(',').map(|core| core.parse().unwrap()).filter(|core| allowed.is_set(*core)) {
        wanted.set(core);
    }
    if wanted.count() > 0 {
        sched_setaffinity(None, &wanted).unwrap();
    }
    panic!("{program}: {}", Command::new(program).args(arguments).exec());
}
