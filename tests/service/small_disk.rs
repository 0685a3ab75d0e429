//! A disk that a test can fill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A tmpfs of a fixed size, unmounted when dropped.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one of this many KiB. `None`: this process may not; then `test` says that it is skipped.
    pub(super) fn mount(kib: usize, test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={kib}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED {test}: may not mount a tmpfs");
        None
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room. Returns the file to be removed to make some.
    pub(super) fn fill(&self, kib: usize) -> PathBuf {
        let filler = self.path().join("filler");
        let _full = fs::write(&filler, vec![0; kib << 10]);
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
