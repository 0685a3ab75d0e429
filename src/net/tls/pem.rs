//! PEM files with certificates and keys. No error quotes a file.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rustls::Error;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates in a file, in its order; at least one.
///
/// # Errors
/// The file, what is wrong with it, and what to do.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(describe(path, "has no certificate: expected -----BEGIN CERTIFICATE-----"))
        }
        Ok(found) => Ok(found),
        Err(_) => Err(describe(path, "is not well-formed PEM")),
    }
}

/// The first private key in a file.
///
/// # Errors
/// The file, what is wrong with it, and what to do.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            describe(path, "has no private key that is not encrypted: expected PKCS #8, PKCS #1 or SEC 1")
        }
        _ => describe(path, "is not well-formed PEM"),
    })
}

/// Prefixes what is wrong with the file's path.
pub(super) fn describe(path: &Path, what: &str) -> String {
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

/// The bytes of a file.
///
/// # Errors
/// It cannot be read, is no file, or too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(describe(path, "is not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{} is longer than {MAX_BYTES} bytes", path.display()));
    }
    Ok(bytes)
}

/// All the CAs of a system have about 250 KB.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
