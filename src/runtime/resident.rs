//! The resident memory of the process.

use std::fs;

/// Resident memory of the process in bytes; `None` if the system does not report it (only Linux does).
pub(crate) fn resident_bytes() -> Option<u64> {
    read(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `VmRSS:      1234 kB`.
fn read(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        for (status, expected) in [
            ("VmHWM:\t  99 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n", Some(2_097_152)),
            ("VmRSS:\t 1 MB\n", None),
            ("", None),
        ] {
            assert_eq!(read(status), expected, "{status:?}");
        }
    }
}
