//! The files of the configuration, and the directories to watch for changes of them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::read_error::ReadError;

/// One file of the configuration, with metadata that changes when its content does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Device, inode, length, and the times of the last change of content and of status.
    stamp: [i128; 5],
}

impl Found {
    /// The identity of the file, independent of its content: device and inode.
    pub(super) fn identity(&self) -> FileId {
        let [device, inode, ..] = self.stamp;
        FileId([device, inode])
    }
}

/// The identity of a file. Writing into the file keeps it; replacing the file by another changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(pub(super) [i128; 2]);

/// The files on disk.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files to read, in the order of their paths.
    pub(super) files: Vec<Found>,
    /// Other files next to them, which are not read, in the order of their paths.
    pub(super) skipped: Vec<PathBuf>,
}

/// The state of the disk. If two states are equal, nothing has changed (within the resolution of file times).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DiskState {
    /// The files, or why there are none.
    pub(super) files: Result<Vec<Found>, String>,
    /// The directories in which a change can affect the files: those of the tree, and those with a link on the way to it. The
    /// paths contain no links themselves.
    pub(super) dirs: BTreeSet<PathBuf>,
}

/// The files at or below `path`; `any_name`: files of every name have rules.
pub(super) fn list(path: &Path, any_name: bool) -> Result<Listing, ReadError> {
    Walk { any_name, ..Walk::default() }.run(path)
}

/// Reads the state of the disk, for the watch.
pub(super) fn disk_state(path: &Path, any_name: bool) -> DiskState {
    let mut walk = Walk { any_name, ..Walk::default() };
    let files = walk.run(path).map(|listing| listing.files).map_err(|error| error.to_string());
    DiskState { files, dirs: walk.dirs }
}

#[derive(Default)]
struct Walk {
    any_name: bool,
    files: Vec<Found>,
    skipped: Vec<PathBuf>,
    dirs: BTreeSet<PathBuf>,
    entries: u64,
    /// The directories around the current position, by device and inode: a link back to one of them is a loop.
    inside: Vec<(u64, u64)>,
}

impl Walk {
    fn run(&mut self, root: &Path) -> Result<Listing, ReadError> {
        self.follow(root);
        let meta = fs::metadata(root).map_err(|error| match error.kind() {
            ErrorKind::NotFound => ReadError::Missing { path: root.to_owned() },
            _ => ReadError::unreadable(root, error),
        })?;
        if meta.is_dir() {
            self.directory(root, &meta)?;
            self.skipped.sort_unstable();
            if self.files.is_empty() {
                let others = self.skipped.iter().take(MAX_NAMED).cloned().collect();
                return Err(ReadError::NoFiles { path: root.to_owned(), others });
            }
        } else {
            self.file(root, &meta)?;
        }
        self.files.sort_unstable();
        Ok(Listing { files: std::mem::take(&mut self.files), skipped: std::mem::take(&mut self.skipped) })
    }

    fn directory(&mut self, path: &Path, meta: &Metadata) -> Result<(), ReadError> {
        let id = (meta.dev(), meta.ino());
        if self.inside.contains(&id) {
            return Ok(());
        }
        at_most(MAX_DEPTH, self.inside.len() as u64 + 1, "levels of directories", path)?;
        if let Ok(real) = fs::canonicalize(path) {
            self.dirs.insert(real);
        }
        self.inside.push(id);
        for entry in fs::read_dir(path).map_err(|error| ReadError::unreadable(path, error))? {
            let entry = entry.map_err(|error| ReadError::unreadable(path, error))?;
            self.entries += 1;
            at_most(MAX_ENTRIES, self.entries, "directory entries", path)?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                self.entry(&entry)?;
            }
        }
        self.inside.pop();
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry) -> Result<(), ReadError> {
        let path = entry.path();
        let is_rules = self.any_name || path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        let kind = entry.file_type().map_err(|error| ReadError::unreadable(&path, error))?;
        if kind.is_symlink() {
            self.follow(&path);
        } else if !kind.is_dir() && !is_rules {
            self.skipped.push(path);
            return Ok(());
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => return self.directory(&path, &meta),
            // Of files with any name, those that are no files are of no use.
            Ok(meta) if self.any_name && !meta.is_file() => {}
            Err(_) if self.any_name => {}
            Ok(meta) if is_rules => return self.file(&path, &meta),
            Err(error) if is_rules => return Err(ReadError::unreadable(&path, error)),
            _ => self.skipped.push(path),
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, meta: &Metadata) -> Result<(), ReadError> {
        if !meta.is_file() {
            return Err(ReadError::NotAFile { path: path.to_owned() });
        }
        at_most(MAX_FILES, self.files.len() as u64 + 1, "files", path.parent().unwrap_or(path))?;
        self.files.push(Found { path: path.to_owned(), stamp: stamp(meta) });
        Ok(())
    }

    /// Records the directory of every link on the way to `path` and the directory that contains its end or, if a part of the
    /// path is missing, the directory in which that part has to appear.
    fn follow(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else { return };
        let mut real = PathBuf::from("/");
        let mut rest = names(&path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            match fs::read_link(&next) {
                Ok(target) => {
                    self.dirs.insert(real.clone());
                    links += 1;
                    if links > MAX_LINKS {
                        return;
                    }
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    rest.append(&mut names(&target));
                }
                // Not a link; its directory matters only at the end of the path.
                Err(error) if error.kind() == ErrorKind::InvalidInput && !rest.is_empty() => real = next,
                Err(_) => {
                    self.dirs.insert(real);
                    return;
                }
            }
        }
    }
}

/// More than any set of rules needs. A path given by mistake (a home directory) ends with an error, not in hours of reading.
const MAX_FILES: u64 = 10_000;

/// Entries of any kind: ten times the files, for the same reason.
const MAX_ENTRIES: u64 = 100_000;

/// Deeper than any tree of rules in practice; it bounds the recursion too.
const MAX_DEPTH: u64 = 32;

/// The number of skipped files that an error names: it is one line.
const MAX_NAMED: usize = 5;

/// Links on the way to one file, as Linux itself allows.
const MAX_LINKS: usize = 40;

fn at_most(max: u64, count: u64, what: &'static str, path: &Path) -> Result<(), ReadError> {
    if count > max { Err(ReadError::TooMuch { path: path.to_owned(), what, max }) } else { Ok(()) }
}

fn stamp(meta: &Metadata) -> [i128; 5] {
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    [
        meta.dev().into(),
        meta.ino().into(),
        meta.len().into(),
        ns(meta.mtime(), meta.mtime_nsec()),
        ns(meta.ctime(), meta.ctime_nsec()),
    ]
}

/// The names in a path, last first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_directory_on_the_way_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for made in ["srv/v2/rules", "etc/map/..2024", "etc/links"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        fs::write(root.join("srv/v2/rules/a.yaml"), "").unwrap();
        fs::write(root.join("etc/map/..2024/a.yaml"), "").unwrap();
        for (link, target) in [
            ("srv/current", "v2"),
            ("etc/rules", "../srv/current/rules"),
            ("etc/map/..data", "..2024"),
            ("etc/map/a.yaml", "..data/a.yaml"),
            ("etc/links/loop.yaml", "loop.yaml"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let cases: [(&str, &[&str]); 5] = [
            ("srv/v2/rules/a.yaml", &["srv/v2/rules"]),
            ("etc/rules", &["etc", "srv", "srv/v2", "srv/v2/rules"]),
            ("etc/map", &["etc", "etc/map", "etc/map/..2024"]),
            ("srv/v3/rules", &["srv"]),
            ("etc/links", &["etc", "etc/links"]),
        ];
        for (path, expected) in cases {
            let dirs = disk_state(&root.join(path), false).dirs;
            let expected: BTreeSet<_> = expected.iter().map(|dir| root.join(dir)).collect();
            // Links on the way to the temporary directory itself are not part of the case.
            let dirs: BTreeSet<_> = dirs.into_iter().filter(|dir| dir.starts_with(&root)).collect();
            assert_eq!(dirs, expected, "{path}");
        }
    }
}
