//! The memory that the process may use by its control group.

use std::fs;
use std::path::{Path, PathBuf};

/// The least memory limit of the process's control group and the groups above it, in bytes; `None` without one, and where the
/// system has no control groups (only Linux has).
pub(crate) fn memory_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// The same by the content of `/proc/self/cgroup`, and the directory where control groups are mounted.
fn limit_below(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        match controllers {
            "" => least(root, path, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                least(&root.join("memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

/// The least limit of a group and those above it. In a container its own group is often the root, whatever the path says.
fn least(root: &Path, path: &str, file: &str) -> Option<u64> {
    let group = Path::new(path.trim_start_matches('/'));
    let groups = group.ancestors().map(|above| root.join(above)).chain([PathBuf::from(root)]);
    groups.filter_map(|group| parse(&fs::read_to_string(group.join(file)).ok()?)).min()
}

/// `max` is no limit; version 1 writes a number near the largest one instead.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

/// Above what any machine has.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory.max", "max\n");
        write("pod/memory.max", "536870912\n");
        write("pod/container/memory.max", "max\n");
        write("pod/small/memory.max", "268435456\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/docker/memory.limit_in_bytes", "1073741824\n");
        for (groups, expected) in [
            ("0::/\n", None),
            ("0::/pod/container\n", Some(512 << 20)),
            ("0::/pod/small\n", Some(256 << 20)),
            ("0::/../..\n", None),
            ("4:memory:/docker\n0::/\n", Some(1 << 30)),
            ("5:cpu,memory:/docker/x\n", Some(1 << 30)),
            ("4:memory:/elsewhere\n", None),
            ("4:cpu:/docker\n", None),
            ("", None),
            ("no group", None),
        ] {
            assert_eq!(limit_below(dir.path(), groups), expected, "{groups:?}");
        }
    }

    #[test]
    fn a_container_sees_its_group_as_the_root() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.max"), "67108864\n").unwrap();
        for groups in ["0::/\n", "0::/kubepods/pod1/abc\n"] {
            assert_eq!(limit_below(dir.path(), groups), Some(64 << 20), "{groups:?}");
        }
    }
}
