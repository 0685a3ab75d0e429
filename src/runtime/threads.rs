//! Threads beside the decisions: they give way to the threads that decide.
//!
//! Reports to a hundred observers, a query of the history or a step of the sweep take up to milliseconds of a core. Where
//! cores are few, a check that arrives meanwhile would wait until the scheduler's slice is over. At a lower priority, who
//! decides goes first as soon as there is something to decide, and the rest has what is left: a quarter of a core that is
//! otherwise busy, or next to nothing for those who only look on.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that gives way, under a name that the system shows (15 bytes of it).
///
/// # Errors
/// The system has no thread left.
pub fn spawn<F>(name: &str, body: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    Builder::new().name(name.to_owned()).spawn(move || {
        lower_priority(STEPS);
        body();
    })
}

/// Makes the calling thread, for good, one that works for those who look on: it has next to nothing of a core that is
/// otherwise busy.
pub fn come_last() {
    lower_priority(LAST);
}

fn lower_priority(steps: i32) {
    // On Linux a thread has a priority of its own. Lowering it is never refused; where it were, all would be as before.
    let _as_before = rustix::process::nice(steps);
}

/// Of niceness: each step is worth a fifth less of a contended core, so five leave a quarter to three quarters.
const STEPS: i32 = 5;
/// The least that there is: a seventieth of a contended core.
const LAST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_beside_gives_way_and_the_others_keep_their_priority() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        spawn("beside", move || tell.send(own()).unwrap()).unwrap().join().unwrap();
        assert_eq!(told.recv().unwrap(), (before + STEPS).min(19));
        assert_eq!(own(), before);
    }
}
