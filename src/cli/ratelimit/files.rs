//! Where the reference finds its rules: below `RUNTIME_ROOT`.

use std::fs;
use std::path::{Path, PathBuf};

use super::environment::Environment;

/// The directory or file with the rules.
///
/// It is `ROOT/SUBDIRECTORY/APPDIRECTORY`. If that is not there, a file `ROOT/SUBDIRECTORY/APPDIRECTORY.*` is used, which works in the reference, too,
/// while it watches its root.
///
/// # Errors
/// There is no subdirectory: the reference would run without limits.
pub(super) fn rules(environment: &Environment) -> Result<PathBuf, String> {
    let root = environment.get("RUNTIME_ROOT").unwrap_or("/srv/runtime_data/current");
    let Some(below) = environment.get("RUNTIME_SUBDIRECTORY") else {
        return Err("RUNTIME_SUBDIRECTORY is not set: there would be no limits; set it, or TIDEGATE_CONFIG".to_owned());
    };
    let name = environment.get("RUNTIME_APPDIRECTORY").unwrap_or("config");
    let above = Path::new(root).join(below);
    let path = above.join(name);
    if path.exists() {
        return Ok(path);
    }
    let begins = |path: &PathBuf| {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
        file.starts_with(&format!("{name}.")) && path.is_file()
    };
    let entries = fs::read_dir(&above).into_iter().flatten().filter_map(Result::ok);
    Ok(entries.map(|entry| entry.path()).filter(begins).min().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dir: &Path, variables: &[(&str, &str)]) -> Result<String, String> {
        let root = ("RUNTIME_ROOT".into(), dir.as_os_str().to_owned());
        let given = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let path = rules(&Environment::new(given.chain([root])))?;
        Ok(path.strip_prefix(dir).unwrap().to_string_lossy().into_owned())
    }

    #[test]
    fn the_directory_or_else_the_file() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/config", "b/config.d"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("b/config.yaml"), "").unwrap();
        for (variables, expected) in [
            (&[("RUNTIME_SUBDIRECTORY", "a")][..], Some("a/config")),
            (&[("RUNTIME_SUBDIRECTORY", "b")], Some("b/config.yaml")),
            (&[("RUNTIME_SUBDIRECTORY", "a"), ("RUNTIME_APPDIRECTORY", "rules")], Some("a/rules")),
            (&[("RUNTIME_SUBDIRECTORY", "")], None),
            (&[], None),
        ] {
            assert_eq!(found(dir.path(), variables).ok().as_deref(), expected, "{variables:?}");
        }
    }
}
