//! PEM files with certificates and keys. No error quotes a file.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, RootCertStore};

use crate::runtime::small_files::{self, ReadError};

/// A file that has been read. Every error says which file, what is wrong with it, and what to do.
pub(super) struct PemFile<'p> {
    path: &'p Path,
    bytes: Vec<u8>,
}

impl<'p> PemFile<'p> {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is no file, or too long.
    pub(super) fn read(path: &'p Path) -> Result<Self, String> {
        match small_files::read(path, MAX_BYTES) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(ReadError::Io(error)) => Err(format!("{}: {error}", path.display())),
            Err(ReadError::NotAFile) => Err(describe(path, "is not a file")),
            Err(ReadError::TooLong) => Err(describe(path, &format!("is longer than {MAX_BYTES} bytes"))),
        }
    }

    /// A file with this content.
    pub(super) fn with_content(path: &'p Path, content: &[u8]) -> Self {
        Self { path, bytes: content.to_vec() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its certificates, in its order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match found {
            Ok(found) if found.is_empty() => {
                Err(self.describe("has no certificate: expected -----BEGIN CERTIFICATE-----"))
            }
            Ok(found) => Ok(found),
            Err(_) => Err(self.describe("is not well-formed PEM")),
        }
    }

    /// Its certificates, as CAs to trust.
    pub(super) fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|error| self.describe(&format!("has a CA that cannot be used: {error}")))?;
        }
        Ok(roots)
    }

    /// Its first private key.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                self.describe("has no private key that is not encrypted: expected PKCS #8, PKCS #1 or SEC 1")
            }
            _ => self.describe("is not well-formed PEM"),
        })
    }

    /// What is wrong with the file, after its path.
    pub(super) fn describe(&self, what: &str) -> String {
        describe(self.path, what)
    }
}

fn describe(path: &Path, what: &str) -> String {
    format!("{} {what}", path.display())
}

/// Why a certificate and a key cannot be used together.
pub(super) fn mismatch(cert: &Path, key: &Path, error: &Error) -> String {
    let (cert, key) = (cert.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => {
            format!("{cert} and {key} do not belong together: the key is of another certificate")
        }
        error => format!("{cert} and {key} cannot be used: {error}"),
    }
}

/// All the CAs of a system have about 250 KB.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        PemFile::read(path)?.certificates()
    }

    fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
        PemFile::read(path)?.private_key()
    }

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    proptest! {
        #[test]
        fn hostile_files_are_errors_without_their_text(body in "[ -~\n]{0,200}", kind in "(CERTIFICATE|PRIVATE KEY|EC PRIVATE KEY)") {
            let text = format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
            for bytes in [text.as_bytes(), body.as_bytes(), text.get(..text.len() / 2).unwrap_or_default().as_bytes()] {
                let file = written(bytes);
                for error in [certificates(file.path()).err(), private_key(file.path()).err()].into_iter().flatten() {
                    prop_assert!(body.len() < 20 || !error.contains(&body));
                }
            }
        }
    }

    #[test]
    fn what_is_no_file_of_pem_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let long = written(&vec![b'\n'; 1 << 21]);
        let empty = written(b"");
        for (path, expected) in [
            (dir.path(), "is not a file"),
            (&dir.path().join("missing"), "No such file"),
            (long.path(), "is longer than 1048576 bytes"),
            (empty.path(), "has no certificate"),
        ] {
            let error = certificates(path).unwrap_err();
            assert!(error.contains(expected) && error.starts_with(&path.display().to_string()), "{error}");
        }
        assert!(private_key(empty.path()).unwrap_err().contains("has no private key"));
    }
}
