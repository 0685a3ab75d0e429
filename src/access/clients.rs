//! The clients of the gRPC port, by the names in their certificates, and the domains that each may check.

use super::Domains;
use super::content::{ContentError, error, read_domains, read_list};
use super::file::Content;
use crate::rules::yaml::{Kind, Node, Pair};

/// All clients of a file.
#[derive(Debug, Default)]
pub(crate) struct Clients(Vec<Client>);

#[derive(Debug)]
struct Client {
    pattern: Pattern,
    domains: Domains,
}

/// Which names a line is for.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    /// A URI, as written.
    Uri(String),
    /// Every URI that begins with this text, which ends with `/`.
    UriBelow(String),
    /// A DNS name, in lower case.
    Dns(String),
    /// Every DNS name with one label before this text, which begins with a dot.
    DnsBelow(String),
}

/// The names in a client's certificate (subject alternative names).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientNames {
    /// URIs, such as SPIFFE ids.
    pub(crate) uris: Vec<String>,
    /// DNS names.
    pub(crate) dns: Vec<String>,
}

impl Content for Clients {
    const FLAG: &'static str = "--access";
    const WHAT: &'static str = "clients";

    /// Reads `clients: [{san, domains}]`.
    fn read(text: &[u8]) -> Result<Self, ContentError> {
        let hint = "each of its lines is {san: \"spiffe://...\", domains: [...]}";
        let clients = read_list(text, "clients", MAX_CLIENTS, hint, read_client)?;
        Ok(Self(clients.into_iter().map(|(_, client)| client).collect()))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Clients {
    /// The domains that a client with these names may check: those of every line that is for one of them. Cost: linear in the number
    /// of lines and names; once for a connection, and once more after each change of the file.
    pub(super) fn domains(&self, names: &ClientNames) -> Domains {
        let mut domains = Vec::new();
        for client in self.0.iter().filter(|client| names.match_one(&client.pattern)) {
            match &client.domains {
                Domains::All => return Domains::All,
                Domains::Only(some) => domains.extend_from_slice(some),
            }
        }
        Domains::only(domains)
    }
}

impl ClientNames {
    fn match_one(&self, pattern: &Pattern) -> bool {
        match pattern {
            Pattern::Uri(uri) => self.uris.contains(uri),
            Pattern::UriBelow(begin) => self.uris.iter().any(|uri| is_below(uri, begin)),
            Pattern::Dns(name) => self.dns.iter().any(|own| own.eq_ignore_ascii_case(name)),
            Pattern::DnsBelow(end) => self.dns.iter().any(|own| has_one_label_before(own, end)),
        }
    }
}

/// Whether a URI is below a path. Segments that lead elsewhere are in no SPIFFE id, and lead nowhere here.
fn is_below(uri: &str, begin: &str) -> bool {
    let rest = uri.strip_prefix(begin).filter(|rest| !rest.is_empty());
    rest.is_some_and(|rest| rest.split('/').all(|segment| !matches!(segment, "" | "." | "..")))
}

/// As wildcards in certificates (RFC 6125, 6.4.3): `*.example.org` is not for `example.org`, nor for `a.b.example.org`.
fn has_one_label_before(name: &str, end: &str) -> bool {
    let label = name.len().checked_sub(end.len()).and_then(|at| name.split_at_checked(at));
    label
        .is_some_and(|(label, rest)| rest.eq_ignore_ascii_case(end) && !label.is_empty() && !label.contains(['.', '*']))
}

fn read_client(node: &Node) -> Result<Client, ContentError> {
    let Kind::Map(pairs) = &node.kind else {
        return Err(error(node.line, "a client is a map: {san: \"spiffe://...\", domains: [...]}"));
    };
    let (mut pattern, mut domains) = (None, None);
    for Pair { key, value } in pairs {
        match key.as_text() {
            Some("san") => pattern = Some(read_pattern(value)?),
            Some("domains") => domains = Some(read_domains(value, "[\"*\"] is for all domains")?),
            _ => return Err(error(key.line, "the keys of a client are san and domains")),
        }
    }
    let missing = |what: &str| error(node.line, format!("a client has no '{what}'"));
    let pattern = pattern.ok_or_else(|| missing("san"))?;
    let domains = domains.ok_or_else(|| missing("domains"))?;
    let domains = if domains.iter().any(|domain| domain == "*") { Domains::All } else { Domains::only(domains) };
    Ok(Client { pattern, domains })
}

fn read_pattern(node: &Node) -> Result<Pattern, ContentError> {
    let wrong = |what: &str| {
        let forms = "\"spiffe://...\" or another URI, or \"DNS:name\"; * is for the rest of a URI after a /, or for the first label of a DNS name";
        error(node.line, format!("'san' {what}: it is {forms}"))
    };
    let text = node.as_text().ok_or_else(|| wrong("is no text"))?;
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong("is empty, too long, or has spaces"));
    }
    if let Some(name) = text.strip_prefix("DNS:") {
        let name = name.to_ascii_lowercase();
        let (is_wild, plain) = name.strip_prefix("*.").map_or((false, &*name), |rest| (true, rest));
        if plain.is_empty() || plain.contains('*') {
            return Err(wrong("has a * in another place, or no name"));
        }
        return Ok(if is_wild { Pattern::DnsBelow(format!(".{plain}")) } else { Pattern::Dns(name) });
    }
    if !text.contains("://") {
        return Err(wrong("is neither"));
    }
    match text.strip_suffix('*') {
        Some(begin) if begin.ends_with('/') && !begin.contains('*') => Ok(Pattern::UriBelow(begin.to_owned())),
        None if !text.contains('*') => Ok(Pattern::Uri(text.to_owned())),
        _ => Err(wrong("has a * in another place")),
    }
}

/// Each connection is compared with all of them.
const MAX_CLIENTS: usize = 10_000;
/// A SPIFFE id has at most that many bytes.
const MAX_NAME_BYTES: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
clients:
  - {san: "spiffe://cluster.local/ns/shop/*", domains: [shop]}
  - {san: "spiffe://cluster.local/ns/shop/sa/gw", domains: [pay, shop]}
  - {san: "DNS:gw.example.org", domains: ["*"]}
  - {san: "DNS:*.Edge.example.org", domains: [edge]}
"#;

    fn names(uris: &[&str], dns: &[&str]) -> ClientNames {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        ClientNames { uris: owned(uris), dns: owned(dns) }
    }

    #[test]
    fn names_are_matched_as_a_whole() {
        let clients = Clients::read(FILE.as_bytes()).unwrap();
        let only = |domains: &[&str]| Domains::Only(domains.iter().map(ToString::to_string).collect());
        let uris = [
            ("spiffe://cluster.local/ns/shop/sa/cart", only(&["shop"])),
            ("spiffe://cluster.local/ns/shop/sa/gw", only(&["pay", "shop"])),
            ("spiffe://cluster.local/ns/shop/", only(&[])),
            ("spiffe://cluster.local/ns/shop", only(&[])),
            ("spiffe://cluster.local/ns/shopping/sa/gw", only(&[])),
            ("spiffe://cluster.local/ns/shop/../bank/sa/gw", only(&[])),
            ("SPIFFE://cluster.local/ns/shop/sa/gw", only(&[])),
            ("spiffe://other/ns/shop/sa/gw", only(&[])),
            // A URI is no DNS name, whatever it looks like.
            ("DNS:gw.example.org", only(&[])),
            ("gw.example.org", only(&[])),
        ];
        for (uri, expected) in uris {
            assert_eq!(clients.domains(&names(&[uri], &[])), expected, "{uri}");
        }
        let dns = [
            ("gw.example.org", Domains::All),
            ("GW.example.ORG", Domains::All),
            ("a.gw.example.org", only(&[])),
            ("a.edge.example.org", only(&["edge"])),
            ("A.EDGE.example.org", only(&["edge"])),
            ("a.b.edge.example.org", only(&[])),
            ("edge.example.org", only(&[])),
            (".edge.example.org", only(&[])),
            ("*.edge.example.org", only(&[])),
            ("éedge.example.org", only(&[])),
            ("spiffe://cluster.local/ns/shop/sa/gw", only(&[])),
        ];
        for (name, expected) in dns {
            assert_eq!(clients.domains(&names(&[], &[name])), expected, "{name}");
        }
        let several = names(&["spiffe://cluster.local/ns/shop/sa/cart"], &["x", "a.edge.example.org"]);
        assert_eq!(clients.domains(&several), only(&["edge", "shop"]), "the domains of all names");
        assert_eq!(clients.domains(&ClientNames::default()), only(&[]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let cases = [
            ("", "line 1: expected `clients:`"),
            ("tokens: []", "line 1: the only key at the top level is 'clients'"),
            ("clients: 5", "line 1: 'clients' must be a list"),
            ("clients:\n- 5", "line 2: a client is a map"),
            ("clients:\n- {san: 'DNS:a'}", "line 2: a client has no 'domains'"),
            ("clients:\n- {domains: [a]}", "line 2: a client has no 'san'"),
            ("clients:\n- {san: 'DNS:a', domains: [a], role: b}", "line 2: the keys of a client are"),
            ("clients:\n- {san: 'DNS:a', domains: []}", "line 2: 'domains' must have 1 to"),
            ("clients:\n- {san: 'DNS:a', domains: a}", "line 2: 'domains' must be a list"),
            ("clients:\n- {san: 'gw.example.org', domains: [a]}", "line 2: 'san' is neither"),
            ("clients:\n- {san: '*', domains: [a]}", "line 2: 'san' is neither"),
            ("clients:\n- {san: 'DNS:', domains: [a]}", "line 2: 'san' has a *"),
            ("clients:\n- {san: 'DNS:*', domains: [a]}", "line 2: 'san' has a *"),
            ("clients:\n- {san: 'DNS:a.*.b', domains: [a]}", "line 2: 'san' has a *"),
            ("clients:\n- {san: 'spiffe://*/ns/shop', domains: [a]}", "line 2: 'san' has a *"),
            ("clients:\n- {san: 'spiffe://a/ns/sh*', domains: [a]}", "line 2: 'san' has a *"),
            ("clients:\n- {san: '', domains: [a]}", "line 2: 'san' is empty"),
            ("clients:\n- {san: 'DNS:a b', domains: [a]}", "line 2: 'san' is empty"),
        ];
        for (text, expected) in cases {
            let found = Clients::read(text.as_bytes()).unwrap_err().to_string();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
        assert_eq!(Clients::read(b"clients: []").unwrap().len(), 0);
    }
}
