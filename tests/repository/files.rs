//! The files of the repository: those that git tracks or would track.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }
}

/// Every text file of the repository, in the order of their paths.
pub(crate) fn all() -> Vec<File> {
    let mut paths = tracked().unwrap_or_else(|| below(Path::new(ROOT)));
    paths.sort();
    assert!(paths.iter().any(|path| path == "src/lib.rs"), "these are not the repository's files: {paths:?}");
    // A file that was deleted but not yet committed is still tracked; one that is no UTF-8 is no text.
    let read = |path: String| Some(File { text: fs::read_to_string(Path::new(ROOT).join(&path)).ok()?, path });
    paths.into_iter().filter_map(read).collect()
}

fn tracked() -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(arguments).current_dir(ROOT).output().ok()?;
    let names = listed.status.success().then(|| String::from_utf8_lossy(&listed.stdout).into_owned())?;
    Some(names.split_terminator('\0').map(str::to_owned).collect()).filter(|paths: &Vec<_>| !paths.is_empty())
}

/// Every file below a directory, for a copy of the sources without git.
fn below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (name, path) = (entry.file_name(), entry.path());
        if name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            found.extend(below(&path));
        } else {
            found.push(path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
