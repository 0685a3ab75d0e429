//! The names under which the admin port may be called: a page in a browser must not reach it by a name of its own that resolves
//! to this host (DNS rebinding).

use std::net::IpAddr;

/// The names of `--admin-host`, besides IP addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// These names, without ports.
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    /// Whether `host`, a name or address with or without a port, is one of them.
    pub(crate) fn allow(&self, host: &str) -> bool {
        let name = without_port(host);
        if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<IpAddr>().is_ok();
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address without brackets are its own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && is_whole(name) => name,
        _ => host,
    }
}

fn is_whole(name: &str) -> bool {
    name.ends_with(']') || !name.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names() {
        let hosts = Hosts::new(&["tidegate-admin.shop.svc".to_owned(), "Admin.Example.org.".to_owned()]);
        let cases = [
            ("127.0.0.1", true),
            ("127.0.0.1:8082", true),
            ("10.1.2.3:80", true),
            ("[::1]:8082", true),
            ("[::1]", true),
            ("::1", true),
            ("localhost", true),
            ("LOCALHOST:8082", true),
            ("localhost.", true),
            ("tidegate-admin.shop.svc:8082", true),
            ("admin.example.ORG", true),
            ("evil.example.org", false),
            ("localhost.evil.org", false),
            ("127.0.0.1.evil.org:8082", false),
            ("[::1", false),
            ("[evil.org]", false),
            ("", false),
            (":8082", false),
        ];
        for (host, expected) in cases {
            assert_eq!(hosts.allow(host), expected, "{host:?}");
        }
    }
}
