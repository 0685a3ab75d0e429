//! A directory in memory that loses what was not synced, in any part: for tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::rc::Rc;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::files::Files;

/// The directory. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Model(Rc<RefCell<Disk>>);

#[derive(Default)]
struct Disk {
    /// The names as programs see them.
    names: BTreeMap<String, usize>,
    /// Those that are on the disk, and the changes since then, in order.
    synced_names: BTreeMap<String, usize>,
    changes: Vec<Change>,
    contents: Vec<Content>,
    /// Operations until the disk fails; `None`: never.
    fails_after: Option<u64>,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
}

/// What was written to a file.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// So many are on the disk; of the others each write may be.
    synced: usize,
    /// Where writes since then begin.
    writes: Vec<usize>,
}

/// An open file.
pub(super) struct ModelFile {
    model: Model,
    content: usize,
}

impl Model {
    /// From then on each operation fails.
    pub(super) fn fail_after(&self, operations: Option<u64>) {
        self.0.borrow_mut().fails_after = operations;
    }

    /// The directory after a crash: of what was not synced, any writes are missing, each whole, in part or as zeros; and of the changes
    /// of names the last ones.
    pub(super) fn crashed(&self, random: &mut SmallRng) -> Self {
        let disk = self.0.borrow();
        let mut names = disk.synced_names.clone();
        let kept = random.random_range(0..=disk.changes.len());
        for change in &disk.changes[..kept] {
            match change {
                Change::Link(name, content) => drop(names.insert(name.clone(), *content)),
                Change::Unlink(name) => drop(names.remove(name)),
            }
        }
        let contents: Vec<_> = disk.contents.iter().map(|content| content.crashed(random)).collect();
        Self(Rc::new(RefCell::new(Disk {
            names: names.clone(),
            synced_names: names,
            changes: Vec::new(),
            contents,
            fails_after: None,
        })))
    }

    fn operate<T>(&self, operation: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.0.borrow_mut();
        if let Some(left) = &mut disk.fails_after {
            if *left == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            *left -= 1;
        }
        operation(&mut disk)
    }
}

impl Content {
    fn crashed(&self, random: &mut SmallRng) -> Self {
        let mut bytes = self.bytes[..self.synced].to_vec();
        let ends = self.writes.iter().skip(1).copied().chain([self.bytes.len()]);
        for (begin, end) in self.writes.iter().copied().zip(ends) {
            let write = &self.bytes[begin..end];
            match random.random_range(0..5) {
                // The file ends here.
                0 => break,
                1 => {
                    bytes.extend_from_slice(&write[..random.random_range(0..=write.len())]);
                    break;
                }
                // The length is on the disk, the content is not.
                2 => bytes.extend(std::iter::repeat_n(0, write.len())),
                _ => bytes.extend_from_slice(write),
            }
        }
        Self { synced: bytes.len(), bytes, writes: Vec::new() }
    }
}

impl Write for ModelFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let content = self.content;
        self.model.operate(|disk| {
            let content = &mut disk.contents[content];
            content.writes.push(content.bytes.len());
            content.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Files for Model {
    type File = ModelFile;

    fn create(&self, name: &str) -> io::Result<ModelFile> {
        self.operate(|disk| {
            let content = disk.contents.len();
            disk.contents.push(Content::default());
            disk.names.insert(name.to_owned(), content);
            disk.changes.push(Change::Link(name.to_owned(), content));
            Ok(ModelFile { model: self.clone(), content })
        })
    }

    fn leads_to(&self, name: &str, file: &ModelFile) -> io::Result<bool> {
        Ok(self.0.borrow().names.get(name) == Some(&file.content))
    }

    fn sync(&self, file: &mut ModelFile) -> io::Result<()> {
        let content = file.content;
        self.operate(|disk| {
            let content = &mut disk.contents[content];
            content.synced = content.bytes.len();
            content.writes.clear();
            Ok(())
        })
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let disk = self.0.borrow();
        let content = disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let bytes = disk.contents[*content].bytes.clone();
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|disk| {
            let content = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            disk.names.insert(to.to_owned(), content);
            // A rename is one step on the disk: the new name comes first here, and the old one may stay.
            disk.changes.push(Change::Link(to.to_owned(), content));
            disk.changes.push(Change::Unlink(from.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|disk| {
            disk.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            disk.changes.push(Change::Unlink(name.to_owned()));
            Ok(())
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn sync_names(&self) -> io::Result<()> {
        self.operate(|disk| {
            disk.synced_names = disk.names.clone();
            disk.changes.clear();
            Ok(())
        })
    }
}
