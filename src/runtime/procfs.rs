//! The cost of a process, from Linux's `/proc`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

/// A process whose cost is measured.
#[derive(Clone, Debug)]
pub struct Process {
    dir: PathBuf,
}

/// The cost of a process so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// CPU time in nanoseconds of each running thread, or of the process as thread 0.
    cpu_ns: BTreeMap<u32, u64>,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

impl Process {
    /// The process with that id.
    ///
    /// # Errors
    /// There is none, permission is denied, or the system has no `/proc`.
    pub fn with_pid(pid: u32) -> io::Result<Self> {
        let process = Self { dir: format!("/proc/{pid}").into() };
        process.cost().map(|_| process)
    }

    /// This process.
    pub fn this() -> Self {
        Self { dir: "/proc/self".into() }
    }

    /// The cost until now. CPU time is the scheduler's nanosecond count if the kernel provides it (for running threads it lags by
    /// up to a tick, about 4 ms per thread), otherwise in ticks of 10 ms.
    ///
    /// # Errors
    /// The process has ended, or permission is denied.
    pub fn cost(&self) -> io::Result<Cost> {
        let read = |name: &str| fs::read_to_string(self.dir.join(name));
        let cpu_ns = match self.threads() {
            Some(threads) => threads,
            None => BTreeMap::from([(0, parse(&read("stat")?, stat_ns)?)]),
        };
        Ok(Cost { cpu_ns, resident_bytes: parse(&read("status")?, resident_bytes)? })
    }

    /// `None` if a thread has no count.
    fn threads(&self) -> Option<BTreeMap<u32, u64>> {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(self.dir.join("task")).ok()? {
            let dir = thread.ok()?.path();
            // A thread may end at any time.
            let Ok(reported) = fs::read_to_string(dir.join("schedstat")) else { continue };
            let id = dir.file_name()?.to_str()?.parse().ok()?;
            threads.insert(id, reported.split(' ').next()?.parse().ok()?);
        }
        Some(threads).filter(|threads| threads.values().any(|ns| *ns > 0))
    }
}

impl Cost {
    /// CPU time in nanoseconds since `earlier`. That of threads that have ended since then is lost.
    pub fn cpu_ns_since(&self, earlier: &Self) -> u64 {
        let since = |(id, ns): (&u32, &u64)| ns.saturating_sub(earlier.cpu_ns.get(id).copied().unwrap_or(0));
        self.cpu_ns.iter().map(since).sum()
    }
}

fn parse(text: &str, reader: impl Fn(&str) -> Option<u64>) -> io::Result<u64> {
    reader(text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown format"))
}

/// `utime` and `stime`, the 14th and 15th field; the second one, a name in parentheses, may contain anything.
fn stat_ns(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_NS)
}

/// The line `VmRSS:      1234 kB`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// USER_HZ, which is 100 in the interface of every Linux.
const TICK_NS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_of_the_kernel() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!((stat_ns(stat), stat_ns("7 (a")), (Some(3_000_000_000), None));
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t    2 kB\n"), Some(2_048));
    }

    #[test]
    fn threads_that_come_and_go_do_not_make_it_negative() {
        let cost = |threads: &[(u32, u64)]| Cost { cpu_ns: threads.iter().copied().collect(), resident_bytes: 0 };
        let (before, after) = (cost(&[(1, 50), (2, 70)]), cost(&[(1, 60), (3, 5)]));
        assert_eq!(after.cpu_ns_since(&before), 15);
    }

    #[test]
    fn this_process_is_there_and_no_other_number_is() {
        let this = Process::with_pid(std::process::id()).unwrap();
        let before = this.cost().unwrap();
        let spun = (0..20_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        assert!(this.cost().unwrap().cpu_ns_since(&before) > 0, "{spun}");
        assert!(before.resident_bytes > 100_000);
        assert!(Process::with_pid(u32::MAX).is_err());
    }
}
