//! A file or a directory of configuration, read as one consistent whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::listing::{DiskState, FileId, Found, Listing, disk_state, list};
use super::read_error::ReadError;
use crate::rules::{LoadOptions, SourceFile};

/// All files of the configuration, as they were at one moment.
#[derive(Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the files themselves, next to what is known of them")]
pub(crate) struct Files {
    /// The files, in the order of their paths.
    pub files: Vec<SourceFile>,
    /// A warning for each file of the directory that was not read: its path, and why.
    pub skipped: Vec<String>,
    /// The identity of each of `files` on disk.
    pub(super) ids: Vec<FileId>,
    /// The hash of each of `files`, computed at the first use.
    hashes: OnceLock<Vec<ContentHash>>,
}

/// Where the configuration is: a file, or a directory of which every `*.yaml` and `*.yml` file at any depth is read.
///
/// Files and directories whose name begins with a dot are skipped; symbolic links are followed, so a Kubernetes ConfigMap
/// (`a.yaml -> ..data/a.yaml`, `..data -> ..2024_x`) is read once, not three times.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    path: PathBuf,
    options: LoadOptions,
    /// Files of every name have rules, as in the reference.
    any_name: bool,
}

impl Source {
    /// A source at that path. Nothing is read yet, and the path need not exist yet.
    pub(crate) fn open(path: impl Into<PathBuf>, options: LoadOptions) -> Self {
        Self { path: path.into(), options, any_name: false }
    }

    /// The same, where files of every name have rules (`true`), but for dot files.
    #[must_use]
    pub(crate) fn with_any_name(self, any_name: bool) -> Self {
        Self { any_name, ..self }
    }

    /// The state of the disk, for the watch.
    pub(super) fn disk_state(&self) -> DiskState {
        disk_state(&self.path, self.any_name)
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How the files are to be loaded.
    pub(crate) fn options(&self) -> LoadOptions {
        self.options
    }

    /// Reads every file, in the order of their paths. A file's name is its path as a user would type it.
    ///
    /// All the returned content was on disk at the same time: files that change while they are read are read again, so that a
    /// swap of a directory never yields a mixture of the old and the new one. Cost: two walks and one read of every file; blocks.
    ///
    /// # Errors
    /// The first error that prevents reading the whole configuration.
    pub(crate) fn read(&self) -> Result<Files, ReadError> {
        let mut listed = list(&self.path, self.any_name)?;
        for _ in 0..READ_ATTEMPTS {
            let files = read_all(&self.path, &listed.files);
            let again = list(&self.path, self.any_name)?;
            if again.files == listed.files {
                return files.map(|files| Files::new(files, &again));
            }
            listed = again;
        }
        Err(ReadError::Changing { path: self.path.clone() })
    }

    /// As [`read`](Self::read), but after an error it tries again for about a second and a half: between the unlink and the
    /// rename of a swap, a file is missing for a moment.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub(crate) fn read_with_retries(&self) -> Result<Files, ReadError> {
        for wait in RETRY_AFTER {
            match self.read() {
                Err(_) => std::thread::sleep(wait),
                read => return read,
            }
        }
        self.read()
    }
}

impl Files {
    /// Adds the files of another source.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.hashes.take();
        self.files.append(&mut other.files);
        self.skipped.append(&mut other.skipped);
        self.ids.append(&mut other.ids);
    }

    /// Identifies this content. Cost: the first time a SHA-256 of every byte, later one of the hashes.
    pub(crate) fn hash(&self) -> ContentHash {
        ContentHash::new(self.hashes().iter().map(|hash| &hash.0[..]))
    }

    /// The hash of the name and the bytes of each file, in their order. The files must not change after the first call.
    pub(super) fn hashes(&self) -> &[ContentHash] {
        let hash = |file: &SourceFile| ContentHash::new([file.name.as_bytes(), &file.text].into_iter());
        self.hashes.get_or_init(|| self.files.iter().map(hash).collect())
    }

    fn new(files: Vec<SourceFile>, listing: &Listing) -> Self {
        let shown = listing.skipped.iter().take(MAX_SKIPPED);
        let why = "only *.yaml and *.yml files of a directory are read; rename it if it holds rules, or move it away";
        let mut skipped: Vec<_> = shown.map(|path| format!("{}: skipped: {why}", path.display())).collect();
        let more = listing.skipped.len().saturating_sub(MAX_SKIPPED);
        if more > 0 {
            skipped.push(format!("and {more} more skipped files"));
        }
        Self { files, skipped, ids: listing.files.iter().map(Found::identity).collect(), hashes: OnceLock::new() }
    }
}

/// Identifies content: a hash of names and bytes, of one file or of all of them in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentHash([u8; 32]);

impl ContentHash {
    fn new<'p>(parts: impl Iterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// A directory swap takes microseconds: files that still change at the third reading are being written, not swapped.
const READ_ATTEMPTS: usize = 3;

/// The pauses between attempts to read what is missing: together long enough for a slow copy over the old file, and short
/// enough that a missing configuration is reported promptly.
const RETRY_AFTER: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

/// With more other files than that next to the rules, the path is probably wrong, which these warnings show.
const MAX_SKIPPED: usize = 100;

/// 64 MiB of YAML is more than 500,000 rules, and the text is kept in memory while it is parsed.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

fn read_all(root: &Path, listed: &[Found]) -> Result<Vec<SourceFile>, ReadError> {
    let mut left = MAX_BYTES;
    let mut files = Vec::with_capacity(listed.len());
    for Found { path, .. } in listed {
        let text = read_one(path, left).map_err(|error| ReadError::unreadable(path, error))?;
        left = left.checked_sub(text.len() as u64).ok_or_else(|| ReadError::TooMuch {
            path: root.to_owned(),
            what: "bytes",
            max: MAX_BYTES,
        })?;
        files.push(SourceFile { name: path.display().to_string(), text });
    }
    Ok(files)
}

/// The file's content, cut one byte above `most`, so that its length shows when it is too long.
fn read_one(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Lays out `tree`, one entry per line: `a/b.yaml = text`, `link -> target`, or `dir/`.
    fn lay_out(root: &Path, tree: &str) {
        for line in tree.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some((path, text)) = line.split_once(" = ") {
                fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                fs::write(root.join(path), text).unwrap();
            } else if let Some((path, target)) = line.split_once(" -> ") {
                fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                symlink(target, root.join(path)).unwrap();
            } else {
                fs::create_dir_all(root.join(line)).unwrap();
            }
        }
    }

    /// Reads `path` of a laid-out tree: `name=text` of each file, or the error, with the root shown as `R`.
    fn read(tree: &str, path: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), tree);
        let shown = match Source::open(dir.path().join(path), LoadOptions::default()).read() {
            Ok(Files { files, .. }) => {
                let shown = files.iter().map(|file| format!("{}={}", file.name, String::from_utf8_lossy(&file.text)));
                shown.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        shown.replace(dir.path().to_str().unwrap(), "R")
    }

    #[test]
    fn reads_what_counts_in_the_order_of_paths() {
        let cases = [
            ("a file of any name", "rules.conf = 1", "rules.conf", "R/rules.conf=1"),
            ("both endings, sorted", "d/b.yml = 2\nd/a.yaml = 1\nd/c.txt = 3", "d", "R/d/a.yaml=1 R/d/b.yml=2"),
            ("below", "d/z.yaml = 9\nd/s/a.yaml = 1", "d", "R/d/s/a.yaml=1 R/d/z.yaml=9"),
            ("dot files and directories", "d/.a.yaml = 1\nd/.s/a.yaml = 2\nd/b.yaml = 3", "d", "R/d/b.yaml=3"),
            ("a linked directory", "v2/a.yaml = 1\ncurrent -> v2", "current", "R/current/a.yaml=1"),
            ("a linked file", "v2/a.yaml = 1\nrules.yaml -> v2/a.yaml", "rules.yaml", "R/rules.yaml=1"),
            ("a ConfigMap", "d/..2024/a.yaml = 1\nd/..data -> ..2024\nd/a.yaml -> ..data/a.yaml", "d", "R/d/a.yaml=1"),
            ("a loop of directories", "d/a.yaml = 1\nd/s/\nd/s/up -> ..", "d", "R/d/a.yaml=1"),
            ("a link to nowhere that is no rule", "d/a.yaml = 1\nd/x -> gone", "d", "R/d/a.yaml=1"),
        ];
        for (what, tree, path, expected) in cases {
            assert_eq!(read(tree, path), expected, "{what}");
        }
    }

    #[test]
    fn other_files_next_to_the_rules_are_named() {
        let tree =
            "d/a.yaml = 1\nd/config = 1\nd/B.YAML = 1\nd/s/c.json = 1\nd/.hidden = 1\nd/x -> gone\nd/..data/y = 1";
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), tree);
        let files = Source::open(dir.path().join("d"), LoadOptions::default()).read().unwrap();
        let named: Vec<_> = files.skipped.iter().map(|line| line.split(": skipped: ").next().unwrap()).collect();
        let expected = ["d/B.YAML", "d/config", "d/s/c.json", "d/x"].map(|path| dir.path().join(path));
        assert_eq!(named, expected.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>());

        for name in 0..MAX_SKIPPED + 5 {
            fs::write(dir.path().join(format!("d/{name}.txt")), "").unwrap();
        }
        let files = Source::open(dir.path().join("d"), LoadOptions::default()).read().unwrap();
        assert_eq!(files.skipped.len(), MAX_SKIPPED + 1);
        assert_eq!(files.skipped.last().unwrap(), "and 9 more skipped files");
    }

    #[test]
    fn an_error_says_what_where_and_what_to_do() {
        let cases = [
            ("", "d", "R/d: no such file or directory; give a rules file"),
            (
                "d/x.txt = 1\nd/config = 1",
                "d",
                "R/d: contains no *.yaml or *.yml file; skipped: 'R/d/config', 'R/d/x.txt' (names",
            ),
            ("d/", "d", "R/d: contains no *.yaml or *.yml file (names"),
            ("d/x.yaml -> gone", "d", "R/d/x.yaml: cannot be read: No such file"),
            ("x.yaml -> gone", "x.yaml", "R/x.yaml: no such file or directory"),
            ("a -> b\nb -> a", "a", "R/a: cannot be read: Too many levels of symbolic links"),
            ("d/x.yaml -> /dev/null", "d", "R/d/x.yaml: is neither a regular file nor a directory"),
        ];
        for (tree, path, expected) in cases {
            let reported = read(tree, path);
            assert!(reported.starts_with(expected), "{tree:?}: expected {expected:?}, got {reported:?}");
        }
    }

    #[test]
    fn the_size_of_a_configuration_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yaml"] {
            File::create(dir.path().join(name)).unwrap().set_len(MAX_BYTES / 2 + 1).unwrap();
        }
        let error = Source::open(dir.path(), LoadOptions::default()).read().unwrap_err();
        assert!(error.to_string().contains("more than 67108864 bytes"), "{error}");

        let deep = tempfile::tempdir().unwrap();
        fs::create_dir_all(deep.path().join(["s"; 40].join("/"))).unwrap();
        let error = Source::open(deep.path(), LoadOptions::default()).read().unwrap_err();
        assert!(error.to_string().contains("more than 32 levels of directories"), "{error}");
    }

    #[test]
    fn the_hash_tells_names_and_bytes_apart() {
        let hash = |files: &[(&str, &str)]| {
            let file = |(name, text): &(&str, &str)| SourceFile { name: (*name).into(), text: (*text).into() };
            Files { files: files.iter().map(file).collect(), ..Files::default() }.hash()
        };
        let before = hash(&[("a", "bc")]);
        assert_eq!(before, hash(&[("a", "bc")]));
        for other in [&[("ab", "c")][..], &[("a", "bd")], &[("a", "bc"), ("", "")], &[]] {
            assert_ne!(before, hash(other), "{other:?}");
        }
    }
}
