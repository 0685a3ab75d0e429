//! The configurations in force, kept in the data directory, so that a process that starts without the control plane limits as before.
//!
//! The file has a line with the version of the format and the SHA-256 of the rest, which is JSON. It is written whole under another name,
//! synced and renamed. One that is damaged or of another format is set aside.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::acceptance::Accepted;
use crate::hex::push_hex;
use crate::rules::SourceFile;
use crate::runtime::small_files::{self, ReadError};

/// Where the set is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptSet(PathBuf);

#[derive(Deserialize, Serialize)]
struct Config {
    domain: String,
    name: String,
    text: String,
}

impl KeptSet {
    /// The file of a data directory. Nothing is read yet.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self(dir.join(FILE))
    }

    /// The set that was kept; `None`: there is none.
    ///
    /// # Errors
    /// There is one that cannot be used, which has been set aside.
    pub(super) fn load(&self) -> Result<Option<Accepted>, String> {
        let bytes = match small_files::read(&self.0, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(ReadError::Io(error)) => return Err(format!("{}: {error}", self.0.display())),
            Err(ReadError::NotAFile) => return Err(format!("{} is not a file", self.0.display())),
            Err(ReadError::TooLong) => return Err(self.set_aside("is too long")),
        };
        parse(&bytes).map(Some).ok_or_else(|| self.set_aside("is damaged, or of another version of tidegate"))
    }

    fn set_aside(&self, what: &str) -> String {
        let aside = self.0.with_extension("damaged");
        match fs::rename(&self.0, &aside) {
            Ok(()) => format!("{} {what}: set aside as {}", self.0.display(), aside.display()),
            Err(error) => format!("{} {what}, and cannot be set aside: {error}", self.0.display()),
        }
    }

    /// Keeps this set in place of the one before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn save(&self, accepted: &Accepted) -> io::Result<()> {
        let text = |file: &SourceFile| String::from_utf8_lossy(&file.text).into_owned();
        let configs = accepted.domains.iter().zip(&accepted.files);
        let configs: Vec<_> = configs
            .map(|(domain, file)| Config { domain: domain.clone(), name: file.name.clone(), text: text(file) })
            .collect();
        let body = serde_json::to_vec(&configs)?;
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(header(&body).as_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        // The new name is on disk only with its directory.
        self.0.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

fn parse(bytes: &[u8]) -> Option<Accepted> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (first, body) = bytes.split_at_checked(end.checked_add(1)?)?;
    if first != header(body).as_bytes() {
        return None;
    }
    let configs: Vec<Config> = serde_json::from_slice(body).ok()?;
    let mut accepted = Accepted::default();
    for Config { domain, name, text } in configs {
        accepted.domains.push(domain);
        accepted.files.push(SourceFile { name, text: text.into_bytes() });
    }
    Some(accepted)
}

fn header(body: &[u8]) -> String {
    let mut header = format!("{FORMAT} ");
    push_hex(&mut header, &small_files::digest([body]));
    header.push('\n');
    header
}

const FILE: &str = "xds.set";
const FORMAT: &str = "tidegate-xds-set-1";
/// Six times the largest set, for one with every character escaped.
const MAX_FILE_BYTES: u64 = 384 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Accepted {
        let file = SourceFile { name: "n".to_owned(), text: "domain: \"d\\n\"\n".into() };
        Accepted { domains: vec!["d\n".to_owned()], files: vec![file] }
    }

    #[test]
    fn a_set_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let kept = KeptSet::in_dir(dir.path());
        assert!(kept.load().unwrap().is_none());
        kept.save(&Accepted::default()).unwrap();
        assert!(kept.load().unwrap().unwrap().files.is_empty());
        kept.save(&accepted()).unwrap();
        let found = kept.load().unwrap().unwrap();
        assert_eq!((&found.domains, &found.files[0].text), (&accepted().domains, &accepted().files[0].text));
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let kept = KeptSet::in_dir(dir.path());
        kept.save(&accepted()).unwrap();
        let mut bytes = fs::read(&kept.0).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        fs::write(&kept.0, bytes).unwrap();
        assert!(kept.load().unwrap_err().contains("set aside as"), "the damage is noticed");
        assert!(kept.load().unwrap().is_none() && dir.path().join("xds.damaged").exists());
    }
}
