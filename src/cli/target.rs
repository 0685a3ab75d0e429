//! The server that a command calls: its address, and descriptions of failed calls.

use std::error::Error;
use std::fmt;
use std::io;

use crate::net::{Address, explain};

/// A server, and whether it is called with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    address: Address,
    /// True for a TCP address only.
    tls: bool,
}

impl Target {
    /// The URL of calls.
    pub(super) fn url(&self) -> String {
        match &self.address {
            Address::Tcp(name) if self.tls => format!("https://{name}"),
            Address::Tcp(name) => format!("http://{name}"),
            Address::Unix(_) => self.address.to_string(),
        }
    }

    /// Its address, however it is called.
    #[cfg(feature = "bench")]
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// `HOST:PORT` of a server that is called with TLS.
    pub(super) fn tls_address(&self) -> Option<&str> {
        match &self.address {
            Address::Tcp(name) if self.tls => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tls {
            f.write_str("https://")?;
        }
        self.address.fmt(f)
    }
}

/// Parses the value of `--addr` and `--admin-addr`: `https://HOST:PORT`, `http://HOST:PORT`, `HOST:PORT` or `unix:/PATH`.
///
/// # Errors
/// What is wrong with the address.
pub(super) fn parse(text: &str) -> Result<Target, String> {
    let (addr, tls) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (rest.strip_suffix('/').unwrap_or(rest), true),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest.strip_suffix('/').unwrap_or(rest), false),
        Some((scheme, _)) if !text.starts_with("unix:") => {
            return Err(format!(
                "unknown scheme '{scheme}': expected https://HOST:PORT, http://HOST:PORT or unix:/PATH"
            ));
        }
        _ => (text, false),
    };
    let address = addr.parse()?;
    if tls && matches!(address, Address::Unix(_)) {
        return Err("a unix socket is called without TLS: unix:/PATH".to_owned());
    }
    Ok(Target { address, tls })
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
    pub(super) fn describe(self, target: &Target, what: &str, error: &(dyn Error + 'static)) -> String {
        if let Some(reason) = causes(error).filter_map(io_error).find_map(explain) {
            return format!("{target}: {what}: {reason}");
        }
        if let Some(error) = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()) {
            let hint = if target.tls && is_cut(error) { CUT_WITH_TLS.to_owned() } else { self.hint(error) };
            return format!("{target}: {what}: {error}{hint}");
        }
        let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
        if target.tls {
            // HTTP/2 was agreed on.
            return format!("{target}: {what}: {cause}{CUT_WITH_TLS}");
        }
        format!("{target}: not a gRPC server (HTTP/2): {cause}{}", self.not_grpc())
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

/// The error of the system in a cause; HTTP/2 keeps its own.
fn io_error<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    cause.downcast_ref::<io::Error>().or_else(|| cause.downcast_ref::<h2::Error>()?.get_io())
}

/// Whether the server ended the connection. HTTP/2 keeps only the text of a TLS alert.
fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
        || error.to_string().starts_with("received fatal alert")
}

/// In TLS 1.3 the server checks the client after the client's handshake, and its reason may be lost with the connection.
const CUT_WITH_TLS: &str = "; does it demand another client certificate (--tls-cert, --tls-key)?";

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
            ("https://localhost:8081", Ok("https://localhost:8081")),
            ("HTTPS://localhost:8081/", Ok("https://localhost:8081")),
            ("https://", Err("expected HOST:PORT")),
            ("https://unix:/run/t.sock", Err("without TLS")),
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
