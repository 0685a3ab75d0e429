//! The files of the state: their names, and the few operations on them, so that tests can lose what was not synced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory of files.
pub(super) trait Files {
    /// A file that is being written.
    type File: Write;

    /// Creates an empty file, in the place of one that exists.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Whether the name still leads to this file: other programs may remove it.
    fn leads_to(&self, name: &str, file: &Self::File) -> io::Result<bool>;

    /// Returns when all that was written to the file is on the disk.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// Opens a file to be read, and its length.
    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)>;

    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    fn list(&self) -> io::Result<Vec<String>>;

    /// Returns when all names that were created, changed and removed are on the disk.
    fn sync_names(&self) -> io::Result<()>;
}

/// The data directory.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Files for Directory {
    type File = File;

    fn create(&self, name: &str) -> io::Result<File> {
        File::create(self.0.join(name))
    }

    fn leads_to(&self, name: &str, file: &File) -> io::Result<bool> {
        let found = match fs::symlink_metadata(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found => found?,
        };
        let ours = file.metadata()?;
        Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino()))
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_data()
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let path = self.0.join(name);
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((Box::new(file), length))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// What a file of the state contains. Ordered as they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// All counters at one time.
    Snapshot,
    /// Counters that were changed since then.
    Journal,
}

/// A file of the state. A snapshot contains all that the journals of earlier generations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) generation: u64,
    pub(super) kind: Kind,
}

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let (number, kind) = match rest.split_once('.')? {
            (number, SNAPSHOT) => (number, Kind::Snapshot),
            (number, JOURNAL) => (number, Kind::Journal),
            _ => return None,
        };
        let generation = number.parse().ok().filter(|generation| *generation <= LAST)?;
        Some(Self { generation, kind }).filter(|read| read.to_string() == name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == Kind::Snapshot { SNAPSHOT } else { JOURNAL };
        write!(f, "{PREFIX}{}.{kind}", self.generation)
    }
}

/// No program gets that far; so there is always a next one.
const LAST: u64 = u64::MAX / 2;
const PREFIX: &str = "counters.";
const SNAPSHOT: &str = "snapshot";
const JOURNAL: &str = "journal";
/// A snapshot that is being written.
pub(super) const UNFINISHED: &str = "counters.unfinished";
