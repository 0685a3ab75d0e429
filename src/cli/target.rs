//! The server that a command calls: its address, and descriptions of failed calls.

use std::error::Error;
use std::io;

use crate::net::Address;

/// Parses the value of `--addr` and `--admin-addr`: `http://HOST:PORT`, `HOST:PORT` or `unix:/PATH`.
///
/// # Errors
/// What is wrong with the address. `https://` is an error, so that a call is never sent in plain text by mistake.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    let addr = match text.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            return Err("TLS is not supported yet: use http://HOST:PORT or unix:/PATH of a port without TLS".to_owned());
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest.strip_suffix('/').unwrap_or(rest),
        Some((scheme, _)) if !text.starts_with("unix:") => {
            return Err(format!("unknown scheme '{scheme}': expected http://HOST:PORT or unix:/PATH"));
        }
        _ => text,
    };
    addr.parse()
}

/// A port that commands call, for the hints of errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    /// The flag with its address.
    flag: &'static str,
    /// What it is.
    name: &'static str,
}

impl Port {
    /// The port that answers checks.
    pub(super) const CHECKS: Self = Self { flag: "--addr", name: "gRPC port" };
    /// The operators' port.
    pub(super) const ADMIN: Self = Self { flag: "--admin-addr", name: "admin port" };

    /// Describes a failed call in one sentence with a hint; `what` names the failed step if the system reports an error.
    pub(super) fn describe(self, target: &Address, what: &str, error: &(dyn Error + 'static)) -> String {
        if let Some(error) = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()) {
            return format!("{target}: {what}: {error}{}", self.hint(error));
        }
        let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
        format!("{target}: not a gRPC server (HTTP/2 without TLS): {cause}{}", self.not_grpc())
    }

    /// A hint for a failed connection; it begins with the punctuation that joins it to the error.
    pub(super) fn hint(self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                format!("; is the service running, and does {} name its {}?", self.flag, self.name)
            }
            kind => system_hint(kind, error).to_owned(),
        }
    }

    /// A hint for a server that does not use gRPC.
    pub(super) fn not_grpc(self) -> String {
        format!("; does {} name the {}, and is it without TLS?", self.flag, self.name)
    }

    /// A hint for an answer that does not come in time.
    pub(super) fn silent(self) -> String {
        format!("; does {} name the {}? --timeout waits longer", self.flag, self.name)
    }
}

fn system_hint(kind: io::ErrorKind, error: &io::Error) -> &'static str {
    match kind {
        io::ErrorKind::TimedOut => "; is the host right, and is no firewall in between?",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "; the server accepts no more connections, or uses another protocol"
        }
        io::ErrorKind::PermissionDenied => "; does this user have permission to open the socket?",
        // The standard library has no stable kind for this error.
        _ if error.to_string().starts_with("failed to lookup address") => "; is the host name right?",
        _ => "",
    }
}

/// The error and its causes, the innermost last; the outer ones are unspecific.
pub(super) fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("http://127.0.0.1:8081", Ok("127.0.0.1:8081")),
            ("HTTP://localhost:8081/", Ok("localhost:8081")),
            ("localhost:8081", Ok("localhost:8081")),
            ("http://[::1]:8081", Ok("[::1]:8081")),
            ("unix:/run/t.sock", Ok("unix:/run/t.sock")),
            ("unix:///run/t.sock", Ok("unix:/run/t.sock")),
            ("https://localhost:8081", Err("TLS is not supported yet")),
            ("HTTPS://localhost:8081", Err("TLS is not supported yet")),
            ("https://", Err("TLS is not supported yet")),
            ("dns:///localhost:8081", Err("unknown scheme 'dns'")),
            ("grpc://localhost:8081", Err("unknown scheme 'grpc'")),
            ("http://localhost", Err("expected HOST:PORT")),
            ("http://localhost:8081/json", Err("expected HOST:PORT")),
            ("localhost", Err("expected HOST:PORT")),
            ("", Err("expected HOST:PORT")),
        ];
        for (text, expected) in cases {
            match (parse(text), expected) {
                (Ok(address), Ok(expected)) => assert_eq!(address.to_string(), expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
