//! The resident memory of this process.

/// The resident memory in bytes; 0 if the system does not report it.
pub(crate) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).map_or(0, |pages| pages.parse::<usize>().unwrap() * PAGE)
}

/// Bytes of a page on x86-64 and nearly all of arm64.
const PAGE: usize = 4_096;
