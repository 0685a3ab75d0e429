//! Addresses to listen on or to connect to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// `HOST:PORT`, or `unix:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host name or IP address, and port; an IPv6 address is in brackets.
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err("unix: needs a path".to_owned()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT or unix:/PATH")?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err("expected HOST:PORT, such as 0.0.0.0:8081".to_owned());
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl Address {
    /// Whether only this machine reaches a port that is bound to it: a unix socket, or a loopback address in numbers.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_local() {
        for (text, expected) in [
            ("127.0.0.1:80", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("unix:/run/t.sock", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("10.0.0.1:80", false),
            ("localhost:80", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_local(), expected, "{text}");
        }
    }

    #[test]
    fn addresses() {
        let cases = [
            ("0.0.0.0:8081", Some("0.0.0.0:8081")),
            ("[::1]:0", Some("[::1]:0")),
            ("localhost:80", Some("localhost:80")),
            ("unix:/run/t.sock", Some("unix:/run/t.sock")),
            ("unix:///run/t.sock", Some("unix:/run/t.sock")),
            ("unix:", None),
            ("8081", None),
            (":8081", None),
            ("host:70000", None),
        ];
        for (text, want) in cases {
            let got = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), want, "{text:?}");
        }
    }
}
