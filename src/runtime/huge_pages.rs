//! Huge pages of memory.

/// Keeps the system from using huge pages for this process, from now on.
///
/// The allocator asks for them, and the system clears all 2 MiB of one when its first byte is touched: the thread that does so waits. Redis does without
/// them for the same reason. A system that cannot be asked for this, as one without them, goes on as it is.
pub(crate) fn do_without_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages cannot be switched off");
    }
}
