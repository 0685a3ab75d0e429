//! The tarball of a release: made by `scripts/release` of the binary that is tested, unpacked, and used.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::server::binary;
use crate::tools::in_repository;

/// Runs a program to its end: whether it succeeded, and what it wrote.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_tarball_has_all_that_a_host_needs() {
    let dir = TempDir::new().unwrap();
    let mut release = Command::new(in_repository("scripts/release"));
    let (made, said) = run(release.arg("--binary").arg(binary()).arg("--out").arg(dir.path()));
    assert!(made, "{said}");
    let names: BTreeSet<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let tarball = names.iter().find(|name| name.ends_with(".tar.gz")).unwrap();
    let root = tarball.strip_suffix(".tar.gz").unwrap();
    assert!(root.starts_with(&format!("tidegate-{}-", env!("CARGO_PKG_VERSION"))), "{root}");
    assert_eq!(names, BTreeSet::from(["SHA256SUMS".to_owned(), tarball.clone()]));
    let (right, said) = run(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(dir.path()));
    assert!(right, "{said}");

    let (unpacked, said) = run(Command::new("tar").args(["-xzf", tarball]).current_dir(dir.path()));
    assert!(unpacked, "{said}");
    let root = dir.path().join(root);
    for file in ["README.md", "LICENSE", "CHANGELOG.md"] {
        assert_eq!(fs::read(root.join(file)).unwrap(), fs::read(in_repository(file)).unwrap(), "{file}");
    }
    for unit in fs::read_dir(in_repository("deploy/systemd")).unwrap().map(Result::unwrap) {
        let packed = fs::read(root.join("systemd").join(unit.file_name())).unwrap();
        assert_eq!(packed, fs::read(unit.path()).unwrap(), "{unit:?}");
    }
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(read(&format!("completions/tidegate.{shell}")).contains("simulate"), "{shell}");
    }
    for page in ["tidegate", "tidegate-serve", "tidegate-settings-set"] {
        assert!(read(&format!("man/man1/{page}.1")).contains(".TH"), "{page}");
    }
    let (runs, said) = run(Command::new(root.join("tidegate")).arg("--version"));
    assert_eq!((runs, said), (true, format!("tidegate {}\n", env!("CARGO_PKG_VERSION"))));
    let symbols = run(Command::new("nm").arg(root.join("tidegate"))).1;
    assert!(symbols.contains("no symbols"), "the binary is not stripped");
}

#[test]
fn what_is_no_target_or_no_release_is_rejected() {
    let release = |args: &[&str]| run(Command::new(in_repository("scripts/release")).args(args));
    let (made, said) = release(&["riscv64gc-unknown-linux-gnu"]);
    assert!(!made && said.contains("riscv64gc-unknown-linux-gnu is no target of a release"), "{said}");
    // Its version is not that of Cargo.toml.
    let (made, said) = release(&["--binary", "/bin/true"]);
    assert!(!made && said.contains("and Cargo.toml says"), "{said}");
    let (made, said) = release(&["--frobnicate"]);
    assert!(!made && said.contains("usage: scripts/release"), "{said}");
}
