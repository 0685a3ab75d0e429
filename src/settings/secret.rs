//! Values that are never shown: passwords, tokens, and URLs that contain them.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::{env, fmt};

/// A secret, or `@` and the path of the file that contains it.
///
/// It comes from an environment variable (or a flag, which other users of the machine can see). Neither `Debug` nor any
/// message shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret in an environment variable, if it is set and not empty.
    pub(crate) fn from_env(name: &str) -> Option<Self> {
        env::var(name).ok().filter(|value| !value.is_empty()).map(Self)
    }

    /// The secret itself. A file is read each time, so that a replaced one takes effect; white space around its text is
    /// removed.
    ///
    /// # Errors
    /// The file cannot be read, is longer than 64 KiB, or is not text.
    pub(crate) fn reveal(&self) -> io::Result<String> {
        let Some(path) = self.0.strip_prefix('@') else { return Ok(self.0.clone()) };
        Self::in_file(path)
    }

    /// The text of a file that contains a secret, without the white space around it.
    ///
    /// # Errors
    /// As for [`reveal`](Self::reveal).
    pub(crate) fn in_file(path: impl AsRef<Path>) -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 64 KiB, which is not a secret"));
        }
        Ok(text.trim().to_owned())
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Bounds the memory if the path is a mistake.
const MAX_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_is_not_shown() {
        let secret: Secret = "smtp://ops:hunter2@mail.example.com".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.reveal().unwrap(), "smtp://ops:hunter2@mail.example.com");
    }

    #[test]
    fn a_file_is_read_again_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let secret: Secret = format!("@{}", path.display()).parse().unwrap();
        assert!(secret.reveal().is_err());
        for token in ["one", "two"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(secret.reveal().unwrap(), token);
        }
        fs::write(&path, "x".repeat(65_537)).unwrap();
        assert!(secret.reveal().unwrap_err().to_string().starts_with("longer than 64 KiB"));
    }
}
