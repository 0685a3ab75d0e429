//! The value of `--store`: where the engine is. No error and no `Debug` shows a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::connection::{Login, NodeAddress};

/// Where the engine of shared counters is, and who connects to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    /// The nodes.
    pub topology: Topology,
    /// The user, the password and the database.
    pub login: Login,
    /// TLS.
    pub has_tls: bool,
}

/// The nodes of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One node.
    Alone(NodeAddress),
    /// Sentinels, which know the master by a name.
    Sentinels {
        /// Some of them.
        sentinels: Vec<NodeAddress>,
        /// The name.
        master: String,
    },
    /// A cluster.
    Cluster(
        /// Some of its nodes.
        Vec<NodeAddress>,
    ),
}

/// Why a URL cannot be used, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The scheme.
    #[error(
        "unknown scheme {0:?}: write redis://, redis+sentinel://, redis+cluster:// or redis+unix://, with rediss for TLS"
    )]
    Scheme(String),
    /// There is no scheme.
    #[error("there is no scheme: write redis://HOST:PORT")]
    NoScheme,
    /// A node.
    #[error("{0:?} is not HOST:PORT")]
    Node(String),
    /// One node where there are several.
    #[error("redis:// takes one node: write redis+sentinel:// or redis+cluster:// for {0} nodes")]
    TooManyNodes(usize),
    /// The list of nodes is too long.
    #[error("{0} nodes, of which {MAX_NODES} may be named: some of them are enough")]
    TooLong(usize),
    /// The number of the database.
    #[error("{0:?} is not the number of a database: write /0, or leave it out")]
    Database(String),
    /// Clusters have one database.
    #[error("a cluster has no databases: leave out what follows the nodes")]
    ClusterDatabase,
    /// The name of the master is missing.
    #[error("the name of the master is missing: write redis+sentinel://HOST:PORT/MASTER")]
    NoMaster,
    /// The path of a socket.
    #[error("the path of the socket is missing: write redis+unix:///PATH")]
    NoPath,
    /// TLS over a unix socket.
    #[error("there is no TLS over a unix socket: write redis+unix://")]
    UnixTls,
    /// An escape.
    #[error("the user or password has a '%' that is not followed by two hexadecimal digits: write %25 for '%'")]
    Escape,
    /// Something after a question mark or a number sign.
    #[error("a URL of a store has no {0:?} part")]
    Extra(char),
}

impl StoreUrl {
    /// Whether it is a cluster, where what is charged in one step has to be in one slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let has_tls = base == "rediss";
        if !has_tls && base != "redis" {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        // The last @: a password may have one that is not escaped.
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let mut login = login.map(credentials).transpose()?.unwrap_or_default();
        if let Some(extra) = rest.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(UrlError::Extra(extra));
        }
        if kind == "unix" {
            let path = Some(rest).filter(|path| path.len() > 1 && path.starts_with('/')).ok_or(UrlError::NoPath)?;
            if has_tls {
                return Err(UrlError::UnixTls);
            }
            let topology = Topology::Alone(NodeAddress::Unix(PathBuf::from(path)));
            return Ok(Self { topology, login, has_tls });
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let nodes = nodes(hosts)?;
        let topology = match kind {
            "" => {
                login.database = database(path)?;
                match <[NodeAddress; 1]>::try_from(nodes) {
                    Ok([node]) => Topology::Alone(node),
                    Err(nodes) => return Err(UrlError::TooManyNodes(nodes.len())),
                }
            }
            "sentinel" => {
                let master = Some(path).filter(|path| !path.is_empty()).ok_or(UrlError::NoMaster)?;
                Topology::Sentinels { sentinels: nodes, master: master.to_owned() }
            }
            "cluster" if path.is_empty() => Topology::Cluster(nodes),
            "cluster" => return Err(UrlError::ClusterDatabase),
            _ => return Err(UrlError::Scheme(scheme.to_owned())),
        };
        Ok(Self { topology, login, has_tls })
    }
}

impl fmt::Display for StoreUrl {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        let list = |nodes: &[NodeAddress]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.topology {
            Topology::Alone(node @ NodeAddress::Tcp(_)) => write!(f, "{scheme}://{node}/{}", self.login.database),
            Topology::Alone(node @ NodeAddress::Unix(_)) => write!(f, "{scheme}+unix://{node}"),
            Topology::Sentinels { sentinels, master } => write!(f, "{scheme}+sentinel://{}/{master}", list(sentinels)),
            Topology::Cluster(nodes) => write!(f, "{scheme}+cluster://{}", list(nodes)),
        }
    }
}

/// `USER:PASS`, `:PASS`, or `PASS` alone.
fn credentials(text: &str) -> Result<Login, UrlError> {
    let (user, password) = text.split_once(':').unwrap_or(("", text));
    let some = |text: &str| unescape(text).map(|text| Some(text).filter(|text| !text.is_empty()));
    Ok(Login { user: some(user)?, password: some(password)?, ..Login::default() })
}

fn nodes(hosts: &str) -> Result<Vec<NodeAddress>, UrlError> {
    let count = hosts.split(',').count();
    if count > MAX_NODES {
        return Err(UrlError::TooLong(count));
    }
    let node = |host: &str| {
        let is_good = host.rsplit_once(':').is_some_and(|(name, port)| {
            let is_bracketed = name.starts_with('[') && name.ends_with(']');
            let is_name = !name.is_empty() && (is_bracketed || !name.contains([':', '[', ']']));
            is_name && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if is_good { Ok(NodeAddress::Tcp(host.to_owned())) } else { Err(UrlError::Node(host.to_owned())) }
    };
    hosts.split(',').map(node).collect()
}

fn database(path: &str) -> Result<i64, UrlError> {
    if path.is_empty() {
        return Ok(0);
    }
    path.parse::<u16>().map(i64::from).map_err(|_| UrlError::Database(path.to_owned()))
}

fn unescape(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        if byte == b'%' {
            let mut digit = || left.next().and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = digit().zip(digit()).ok_or(UrlError::Escape)?;
            bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Escape)
}

/// Nodes or sentinels of a URL: enough that one of them is there.
const MAX_NODES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, shown) in [
            ("redis://h:1", "redis://h:1/0"),
            ("rediss://ann:pa%3Ass@h:1/3", "rediss://h:1/3"),
            ("redis://[::1]:6379", "redis://[::1]:6379/0"),
            ("redis+sentinel://:pw@a:1,b:2/main", "redis+sentinel://a:1,b:2/main"),
            ("rediss+cluster://a:1,b:2", "rediss+cluster://a:1,b:2"),
            ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
        }
        let Login { user, password, database, .. } = "redis://ann:pa%3As@s@h:1/3".parse::<StoreUrl>().unwrap().login;
        assert_eq!((user.as_deref(), password.as_deref(), database), (Some("ann"), Some("pa:s@s"), 3));
    }

    #[test]
    fn errors_say_what_to_write_and_no_password() {
        for (text, part) in [
            ("h:1", "there is no scheme"),
            ("http://u:hunter2@h:1", "unknown scheme \"http\""),
            ("redis+x://u:hunter2@h:1", "unknown scheme \"redis+x\""),
            ("redis://u:hunter2@h", "\"h\" is not HOST:PORT"),
            ("redis://u:hunter2@h:0", "\"h:0\" is not HOST:PORT"),
            ("redis://::1:1", "is not HOST:PORT"),
            ("redis://u:hunter2@a:1,b:2", "takes one node"),
            ("redis://u:hunter2@a:1/x", "\"x\" is not the number"),
            ("redis+sentinel://u:hunter2@a:1", "name of the master is missing"),
            ("redis+cluster://u:hunter2@a:1/1", "has no databases"),
            ("redis+unix://", "path of the socket"),
            ("rediss+unix:///s", "no TLS over a unix socket"),
            ("redis://u:hunter2%zz@h:1", "write %25"),
            ("redis://u:hunter2@h:1/0?x=1", "no '?' part"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(part) && !said.contains("hunter2"), "{text}: {said}");
        }
        let url: StoreUrl = "redis://u:hunter2@h:1".parse().unwrap();
        assert!(!format!("{url:?} {url}").contains("hunter2"));
    }
}
