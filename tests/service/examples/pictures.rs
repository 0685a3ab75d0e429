//! The pictures are those that the script makes from what this build decides.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::run::read;

#[test]
fn the_pictures_are_those_of_this_build() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = tempfile::tempdir().unwrap();
    let run = Command::new("python3")
        .arg(root.join("scripts/pictures"))
        .args(["--tidegate", env!("CARGO_BIN_EXE_tidegate"), "--out"])
        .arg(made.path())
        .output();
    let run = match run {
        Ok(run) => run,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Past the capture of tests, so that it shows.
            let _ = io::stderr().write_all(b"SKIPPED: the_pictures_are_those_of_this_build: there is no python3\n");
            return;
        }
        Err(error) => panic!("python3: {error}"),
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (made, kept) = (files(made.path()), files(&root.join("docs/pictures")));
    assert_eq!(kept.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    for (name, picture) in &made {
        assert!(kept[name] == *picture, "docs/pictures/{name} is not what this build does: run scripts/pictures");
        assert!(picture.len() < 30_000, "{name} has {} bytes", picture.len());
    }
}

#[test]
fn the_page_tells_what_the_pictures_tell() {
    let page = read("docs/ALGORITHMS.md");
    let pictures = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures"));
    for (name, picture) in &pictures {
        assert!(page.contains(&format!("(pictures/{name})")), "{name} is on no page");
        assert!(picture.contains("<desc>Of 159 hits in 60 seconds: "), "{name}");
    }
    assert!(page.contains("the same 159 hits in 60 seconds"));
    assert!(page.contains("In the picture 39 hits pass within"));
    assert!(pictures["fixed_window_clock.svg"].contains("At most 39 passed in any 10 seconds."));
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}
